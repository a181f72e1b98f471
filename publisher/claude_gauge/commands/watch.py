"""`claude-gauge watch`: the cluster in a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import READER, Config, with_settings


@with_settings(*READER, "redline", "cache_floor")
def watch(
    *,
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Draw what is there now, and end.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")] = False,
) -> None:
    """Show the gauges in this terminal; `q` quits.

    Works on any machine that reaches the broker.
    """
    import os
    import shutil
    import sys
    from dataclasses import replace

    from claude_gauge.apps.terminal.app import look_of, watch_live, watch_once
    from claude_gauge.commands import logs
    from claude_gauge.errors import GaugeError

    logs.to_stderr(config.settings.log_format, level="CRITICAL")  # a log line would tear the picture
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    look = look_of(
        config.settings,
        os.environ,
        ascii_only=ascii_only,
        tty=sys.stdout.isatty(),
        utf8="utf" in (sys.stdout.encoding or "").lower(),
    )
    if once:
        columns, rows = shutil.get_terminal_size()
        typer.echo(watch_once(config.settings, replace(look, columns=columns, rows=rows - 1)))
    elif not tty:
        raise GaugeError("watch needs a terminal to draw in; `claude-gauge watch --once` prints one picture")
    else:
        watch_live(config.settings, look)
