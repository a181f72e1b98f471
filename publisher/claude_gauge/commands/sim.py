"""`claude-gauge sim`: runs the firmware on a virtual board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.commands.flags import READER, Config, with_settings


@with_settings(*READER, "redline", "cache_floor")
def sim(
    *,
    config: Config,
    micropython: Annotated[bool, typer.Option("--micropython", help="Run it in the real MicroPython.")] = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write every pulse with its time, as CSV.")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Print changes as lines instead of drawing.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")] = False,
) -> None:
    """Run the device's firmware on virtual hardware; `q` quits."""
    import os
    import sys

    from claude_gauge.apps.device.sim import interpreter, sim_lines, sim_picture
    from claude_gauge.apps.terminal.app import look_of
    from claude_gauge.commands import logs
    from claude_gauge.system.plain_text import harmless
    from claude_gauge.system.signals import ended_in_order

    logs.to_stderr(config.settings.log_format, level="CRITICAL")  # a log line would tear the picture
    command = interpreter(micropython=micropython)
    with ended_in_order():
        if lines or not (sys.stdin.isatty() and sys.stdout.isatty()):
            sim_lines(config.settings, command, trace, lambda line: typer.echo(harmless(line)))
        else:
            utf8 = "utf" in (sys.stdout.encoding or "").lower()
            look = look_of(config.settings, os.environ, ascii_only=ascii_only, tty=True, utf8=utf8)
            sim_picture(config.settings, command, trace, look)
