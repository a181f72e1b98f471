"""`claude-gauge web`: the page on a machine that has no Claude Code."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import BROKER, Config, with_settings


@with_settings(*BROKER, "http", "http_hosts", "redline", "cache_floor", "log_format")
def web(
    *,
    config: Config,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve the page alone, with all nodes of a broker."""
    from claude_gauge.commands import logs
    from claude_gauge.outlets.web.shim import Display
    from claude_gauge.system.signals import until_signal

    logs.to_stderr(config.settings.log_format, level="DEBUG" if verbose else "INFO")
    until_signal(Display(config.settings))
