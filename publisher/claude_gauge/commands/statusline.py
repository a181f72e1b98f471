"""`claude-gauge statusline` and `hook` as the help shows them; `entry.py` runs them past typer."""

from __future__ import annotations

from typing import Annotated

import typer

StateDir = Annotated[str | None, typer.Option(help="Folder for state", show_default=False)]


def statusline(
    *,
    state_dir: StateDir = None,
    then: Annotated[str | None, typer.Option(help="Your own statusline command, run afterwards")] = None,
) -> None:
    """Claude Code's statusline: hand the plan's figures to the publisher, then run your own (`setup` puts it in)."""
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.statusline import run

    raise typer.Exit(run(state_dir, then, entry.read_input()))


def hook(*, state_dir: StateDir = None) -> None:
    """Claude Code's hook: tell the publisher whether Claude waits for you (`setup` puts it in)."""
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.hook import run

    run(state_dir, entry.read_input())
