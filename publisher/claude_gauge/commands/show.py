"""`claude-gauge show`: the present figures, once."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings


@with_settings(*EVERY)
def show(
    *, config: Config, json: Annotated[bool, typer.Option("--json", help="Print the payload itself.")] = False
) -> None:
    """Show the present figures: from the topic, or computed here when no publisher runs; it says which."""
    from claude_gauge import logs
    from claude_gauge.glance import look

    logs.to_stderr(config.settings.log_format, level="ERROR")
    glance = look(config.settings)
    typer.echo(glance.origin, err=True)
    if json:
        typer.echo(glance.payload.decode())
        return
    for name, value in glance.usage.model_dump(exclude={"sources"}).items():
        typer.echo(f"{name:22} {'unknown' if value is None else value}")
    for name, part in glance.usage.sources.items():
        typer.echo(f"{'source of ' + name:22} {part.source}: {part.why or ('ok' if part.ok else 'not healthy')}")
