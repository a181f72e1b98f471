"""`claude-gauge fleet`: all nodes of a broker as one."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import BROKER, Config, with_settings


@with_settings(*BROKER, "redline", "discovery", "state_dir", "log_format")
def fleet(
    *,
    config: Config,
    demos: Annotated[bool, typer.Option("--demos", help="Merge demos too: their figures are made up.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Merge all nodes into claude-gauge/all/usage."""
    from claude_gauge.apps.fleet.app import Fleet
    from claude_gauge.commands import logs
    from claude_gauge.contract.usage import FLEET_NODE
    from claude_gauge.daemon.machine import NodeLock
    from claude_gauge.system.signals import until_signal

    settings = config.settings
    logs.to_stderr(settings.log_format, level="DEBUG" if verbose else "INFO")
    with NodeLock(settings.state_dir, FLEET_NODE):
        until_signal(Fleet(settings, with_demos=demos))
