"""All looks, in the order in which a value travels."""

from __future__ import annotations

import time
from collections.abc import Iterator

from claude_gauge.config import Config
from claude_gauge.doctor import broker, claude_code, feeds, machine, web
from claude_gauge.doctor.check import Check
from claude_gauge.sources.transcripts.roots import transcript_roots


def examine(config: Config) -> Iterator[Check]:
    """Yield what each look finds, as it finds it."""
    settings = config.settings
    changed = [f"{name} ({origin})" for name, origin in config.origins.items()]
    yield Check("settings", "ok", f"changed: {', '.join(changed)}" if changed else "all defaults")
    roots = transcript_roots()
    yield from machine.folders(roots, time.time())
    yield from machine.watches(roots)
    yield from machine.disk(settings)
    yield from claude_code.claude_code(settings)
    yield from feeds.plan(settings)
    yield from feeds.prometheus(settings)
    yield from feeds.ccusage(settings)
    yield from feeds.otlp(settings)
    yield from broker.broker(settings)
    yield from web.shim(settings)
