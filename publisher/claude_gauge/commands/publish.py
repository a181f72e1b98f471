"""The commands that publish: `publish`, `service` (the same, started at login) and `fleet` (all nodes merged)."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import BROKER, EVERY, Config, Verbose, with_settings
from claude_gauge.commands.output import log_to_stderr, say
from claude_gauge.contract.usage import FLEET_NODE
from claude_gauge.system.plain_text import harmless_json
from claude_gauge.system.signals import until_signal


@with_settings(*EVERY)
def publish(
    *,
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Publish what is there now, print it, and end.")] = False,
    verbose: Verbose = False,
) -> None:
    """Follow Claude Code's usage; publish it by MQTT and HTTP."""
    from claude_gauge.daemon.assembly import publish_once, run_until_signal
    from claude_gauge.daemon.machine import NodeLock

    settings = config.settings
    log_to_stderr(settings.log_format, level="DEBUG" if verbose else "INFO")
    with NodeLock(settings.state_dir, settings.node) as lock:
        if once:
            say(harmless_json(publish_once(settings).encode()))
        else:
            run_until_signal(settings, lock)


service = typer.Typer(
    help="Run the publisher as a service of your own session.", no_args_is_help=True, rich_markup_mode=None
)


@service.command()
@with_settings(*EVERY)
def install(
    *,
    config: Config,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the service's definition, install nothing.")
    ] = False,
) -> None:
    """Install the service and start it, now and at every login.

    It runs with the settings that are in force now.
    """
    from claude_gauge.apps.service.job import job
    from claude_gauge.apps.service.manager import manager

    services = manager()
    if only_print:
        say(services.definition(job(config)), keep="\n\t", nl=False)
        return
    notes = services.install(job(config))
    say(f"installed {services.path}; look at it with `claude-gauge service status`")
    for note in notes:
        say(note)


@service.command()
def uninstall() -> None:
    """Stop the service and remove it; settings and state stay."""
    from claude_gauge.apps.service.manager import manager

    services = manager()
    services.uninstall()
    say(f"removed {services.path}")


@service.command()
def status() -> None:
    """Show whether the service runs."""
    from claude_gauge.apps.service.manager import manager

    raise typer.Exit(manager().status())


@service.command()
def logs() -> None:
    """Show the newest 100 lines of the service's log."""
    from claude_gauge.apps.service.manager import manager

    raise typer.Exit(manager().logs())


@with_settings(*BROKER, "redline", "discovery", "state_dir", "log_format")
def fleet(
    *,
    config: Config,
    demos: Annotated[bool, typer.Option("--demos", help="Merge demos too: their figures are made up.")] = False,
    verbose: Verbose = False,
) -> None:
    """Merge all nodes into claude-gauge/all/usage."""
    from claude_gauge.apps.fleet.app import Fleet
    from claude_gauge.daemon.machine import NodeLock

    settings = config.settings
    log_to_stderr(settings.log_format, level="DEBUG" if verbose else "INFO")
    with NodeLock(settings.state_dir, FLEET_NODE):
        until_signal(Fleet(settings, with_demos=demos))
