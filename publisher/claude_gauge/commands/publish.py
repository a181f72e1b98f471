"""`claude-gauge publish`: follows usage and publishes it until it is ended."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings


@with_settings(*EVERY)
def publish(
    *,
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Publish what is there now, print it, and end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each payload.")] = False,
) -> None:
    """Follow Claude Code's usage; publish it by MQTT and HTTP."""
    from claude_gauge.commands import logs
    from claude_gauge.daemon.machine import NodeLock
    from claude_gauge.daemon.process import publish_once, run_until_signal

    settings = config.settings
    logs.to_stderr(settings.log_format, level="DEBUG" if verbose else "INFO")
    with NodeLock(settings.state_dir, settings.node) as lock:
        if once:
            typer.echo(publish_once(settings))
        else:
            run_until_signal(settings, lock)
