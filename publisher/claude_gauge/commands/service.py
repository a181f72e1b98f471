"""`claude-gauge service`: the publisher as a service of one's own session."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings

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

    services, planned = manager(), job(config)
    if only_print:
        typer.echo(services.definition(planned), nl=False)
        return
    notes = services.install(planned)
    typer.echo(f"installed {services.path}; look at it with `claude-gauge service status`")
    for note in notes:
        typer.echo(note)


@service.command()
def uninstall() -> None:
    """Stop the service and remove it; settings and state stay."""
    from claude_gauge.apps.service.manager import manager

    services = manager()
    services.uninstall()
    typer.echo(f"removed {services.path}")


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
