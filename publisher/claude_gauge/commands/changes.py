"""What `setup` and `otel` do with changes of Claude Code's settings: show them, ask, write, name the backups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import typer

from claude_gauge.claude_code.settings_file import Change, write
from claude_gauge.system.plain_text import harmless


def carry_out(
    planned: Sequence[Change],
    nothing: str,
    *,
    yes: bool,
    summary: str = "",
    first: Callable[[Change], None] = lambda _: None,
) -> list[Change]:
    """Show the changes and their `summary`, ask unless `yes`, write all or none; return those that were needed.

    `first` is called with each change before it is written.

    Ends the command with exit code 1 where the person says no.
    """
    needed = [change for change in planned if change.needed]
    for change in needed:
        typer.echo(harmless(change.diff(), keep="\n\t"))
    if not needed:
        typer.echo(f"Nothing to do: {nothing}")
    elif summary:
        typer.echo(summary)
    question = "Write this?" if len(needed) == 1 else f"Write these {len(needed)} files?"
    if needed and not yes and not typer.confirm(question):
        typer.echo("Nothing written.")
        raise typer.Exit(1)
    for change in needed:
        first(change)
    for change, backup in zip(needed, write(needed, time.time()), strict=True):
        typer.echo(f"{'Wrote' if change.after is not None else 'Removed'} {change.path}")
        typer.echo(f"  backup: {backup}" if backup else "  there was no such file before")
    return needed
