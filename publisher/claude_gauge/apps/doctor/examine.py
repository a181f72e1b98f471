"""All looks, in the order in which a value travels."""

from __future__ import annotations

import time
from collections.abc import Iterator

from claude_gauge.apps.doctor import broker, claude_code, machine, sources, web
from claude_gauge.apps.doctor.check import Check
from claude_gauge.claude_code.folders import transcript_roots
from claude_gauge.config import Config


def examine(config: Config) -> Iterator[Check]:
    """Yield what each look finds, as it finds it."""
    settings = config.settings
    changed = [f"{name} ({origin})" for name, origin in config.origins.items()]
    yield Check("settings", "ok", f"changed: {', '.join(changed)}" if changed else "all defaults")
    for note in config.notes:
        yield Check("settings", "warn", *note.partition(": ")[::2])
    roots = transcript_roots()
    yield from machine.folders(roots, time.time())
    yield from machine.watches(roots)
    yield from machine.disk(settings)
    yield from claude_code.claude_code(settings)
    yield from sources.plan(settings)
    yield from sources.prometheus(settings)
    yield from sources.ccusage(settings)
    yield from sources.otlp(settings)
    yield from broker.broker(settings)
    yield from web.shim(settings)
