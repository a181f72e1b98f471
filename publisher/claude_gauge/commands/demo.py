"""`claude-gauge demo`: plays made-up figures through the real programs; reads nothing of yours."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import READER, Config, with_settings


@with_settings(*READER, "http", "ceiling_5h", "redline", "cache_floor", "tach", "discovery")
def demo(
    *,
    config: Config,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, metavar="NUMBER", help="How many times faster than real time.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Chooses the day; the same seed gives the same day.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=1, metavar="NUMBER", help="End after so many seconds (lines only).")
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print payloads, a line a second, instead of drawing.")
    ] = False,
) -> None:
    """Play a made-up day; needs nothing but Python.

    Its figures go the real way: transcripts, MQTT broker, subscriber, picture.
    It has a broker of its own unless --broker names one; there its node is called
    `demo…`, its payload says that the figures are made up, and it removes its topics at the end.
    """
    import os
    import sys

    from claude_gauge.apps.demo.app import as_lines, in_terminal, staged
    from claude_gauge.apps.terminal.app import look_of
    from claude_gauge.commands import logs

    tty = sys.stdin.isatty() and sys.stdout.isatty() and not lines and seconds is None
    logs.to_stderr(config.settings.log_format, level="CRITICAL" if tty else "WARNING")
    with staged(config, seed=seed, speed=speed) as stage:
        typer.echo(stage.footer().removesuffix("  q quits"), err=True)
        if tty:
            utf8 = "utf" in (sys.stdout.encoding or "").lower()
            in_terminal(stage, look_of(stage.settings, os.environ, ascii_only=False, tty=tty, utf8=utf8))
        else:
            as_lines(stage, typer.echo, seconds)
