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
    *, config: Config, only_print: Annotated[bool, typer.Option("--print", help="Show the definition only.")] = False
) -> None:
    """Install and start it; it starts at every login.

    With the settings in force now.
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
    """Stop it and remove it; settings and state stay."""
    from claude_gauge.apps.service.manager import manager

    services = manager()
    services.uninstall()
    typer.echo(f"removed {services.path}")


@service.command()
def status() -> None:
    """Show how it is."""
    from claude_gauge.apps.service.manager import manager

    raise typer.Exit(manager().status())


@service.command()
def logs() -> None:
    """Show what it said lately."""
    from claude_gauge.apps.service.manager import manager

    raise typer.Exit(manager().logs())
