"""The commands that Claude Code runs, for the help: `statusline`, `hook`; `hooks/entry.py` runs them without typer."""

from __future__ import annotations

from typing import Annotated

import typer

StateDir = Annotated[str | None, typer.Option(help="Folder for state.", metavar="FOLDER", show_default=False)]


def statusline(
    *,
    state_dir: StateDir = None,
    then: Annotated[
        str | None, typer.Option(help="Your own statusline command, run afterwards.", metavar="COMMAND")
    ] = None,
) -> None:
    """Store the plan's figures, then run your statusline.

    `claude-gauge setup` puts it into Claude Code's settings.
    """
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.statusline import run

    raise typer.Exit(run(state_dir, then, entry.read_input()))


def hook(*, state_dir: StateDir = None) -> None:
    """Note whether Claude waits for you.

    `claude-gauge setup` puts it into Claude Code's settings.
    """
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.hook import run

    run(state_dir, entry.read_input())
