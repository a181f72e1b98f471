"""All checks, in the order in which a value travels."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from claude_gauge.apps.doctor import broker, machine, sources
from claude_gauge.apps.doctor.machine import Check
from claude_gauge.claude_code.folders import transcript_roots
from claude_gauge.config import Config


def examine(config: Config) -> Iterator[Check]:
    """Yield each check's result as soon as it is known."""
    settings = config.settings
    changed = [f"{name} ({origin})" for name, origin in config.origins.items()]
    yield Check("settings", "ok", f"changed: {', '.join(changed)}" if changed else "all defaults")
    for note in config.notes:
        yield Check("settings", "warn", *note.partition(": ")[::2])
    roots, named = transcript_roots(), bool(os.environ.get("CLAUDE_CONFIG_DIR"))
    only_shows = machine.only_shows(settings, roots, named=named)
    yield from machine.folders(settings, roots, time.time(), named=named)
    yield from machine.watches(roots)
    yield from machine.disk(settings)
    yield from sources.claude_code(settings)
    yield from sources.plan(settings)
    yield from sources.prometheus(settings)
    yield from sources.ccusage(settings)
    yield from sources.otlp(settings)
    yield from broker.broker(settings, only_shows=only_shows)
    yield from machine.shim(settings, only_shows=only_shows)
