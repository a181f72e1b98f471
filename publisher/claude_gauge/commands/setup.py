"""`claude-gauge setup`: adds the statusline and the hooks to Claude Code's settings, or removes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.commands.flags import Config, with_settings

SUMMARY = (
    "Each command above runs claude-gauge: as the statusline it stores the plan's figures, as a hook it notes whether "
    "Claude Code waits for you. `claude-gauge setup --undo` removes them."
)


@with_settings("state_dir")
def setup(
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the statusline and the hooks again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    statusline: Annotated[bool, typer.Option(help="Add the statusline (plan figures).")] = True,
    hooks: Annotated[bool, typer.Option(help="Add the hooks (Claude waits for you).")] = True,
    config: Config,
) -> None:
    """Have Claude Code report plan figures and when it waits.

    Adds a statusline and hooks to Claude Code's settings. It shows the change first, leaves everything else as it is
    and keeps a backup. Your own statusline goes on working; --undo restores it.
    """
    from claude_gauge.claude_code import entries
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.commands.changes import carry_out
    from claude_gauge.errors import GaugeError

    files = settings_files()
    state_dir = config.settings.state_dir.expanduser().absolute()
    if undo:
        carry_out(entries.take_out(files), "these settings hold no statusline or hook of claude-gauge.", yes=yes)
        _forget_hooks(state_dir)
        return
    program = entries.program()
    if entries.is_fleeting(program):
        raise GaugeError(
            f"{program[1]} is a temporary copy (uvx, pipx run) that a cache may delete; "
            "install claude-gauge, then run `claude-gauge setup`"
        )
    ours = entries.Ours(program, str(state_dir))
    planned = entries.put_in(files, ours, with_statusline=statusline, with_hooks=hooks)
    if carry_out(planned, "statusline and hooks are in place already.", yes=yes, summary=SUMMARY):
        _forget_hooks(state_dir)
        typer.echo("Claude Code sessions that run now may need a restart to use it.")
        typer.echo("Now ask Claude Code something: its plan figures come with the answer, for Pro and Max.")
    for change in planned:
        _warn(change.path)


def _forget_hooks(state_dir: Path) -> None:
    """Delete the hooks' events: `waiting` is unknown until the next hook runs."""
    import contextlib

    from claude_gauge.hooks.spool import FOLDER, HOOKS, remove

    with contextlib.suppress(OSError):  # a folder that can't be written to is told by `doctor`
        remove(str(state_dir / FOLDER / HOOKS))


def _warn(path: Path) -> None:
    from claude_gauge.claude_code.folders import obstacles, project_obstacles

    for obstacle in (*obstacles(path), *project_obstacles([Path.cwd()], path)):
        typer.echo(f"Note: {obstacle.found}; {obstacle.advice}.", err=True)
