"""`claude-gauge config`: every effective value and where it came from."""

from __future__ import annotations

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings


@with_settings(*EVERY)
def config(*, config: Config) -> None:
    """Show each setting, its value and where it came from.

    Secrets are masked.
    """
    from claude_gauge.system.plain_text import harmless

    for name, value, origin in config.rows():
        typer.echo(harmless(f"{name:22} {value:36} {origin}"))
