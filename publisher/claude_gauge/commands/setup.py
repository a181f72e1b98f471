"""`claude-gauge setup`: lets Claude Code tell us the plan's figures and when it waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.commands.flags import Config, with_settings


@with_settings("state_dir")
def setup(
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Take all of it out again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    statusline: Annotated[bool, typer.Option(help="Put in the statusline (plan figures).")] = True,
    hooks: Annotated[bool, typer.Option(help="Put in the hooks (Claude waits for you).")] = True,
    config: Config,
) -> None:
    """Let Claude Code tell us plan figures and when it waits.

    Adds our statusline and hooks to its settings: shows the change first, keeps all else, backs up. Your own statusline
    goes on working and is given back by --undo.
    """
    from claude_gauge.claude_code import entries
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.commands.changes import carry_out
    from claude_gauge.errors import GaugeError

    files = settings_files()
    state_dir = config.settings.state_dir.expanduser().absolute()
    if undo:
        carry_out(entries.take_out(files), "nothing of ours is in there.", yes=yes)
        _forget_hooks(state_dir)
        return
    program = entries.program()
    if entries.is_fleeting(program):
        raise GaugeError(f"{program[1]} is a passing copy in a cache; install claude-gauge, then run its setup")
    ours = entries.Ours(program, str(state_dir))
    planned = entries.put_in(files, ours, with_statusline=statusline, with_hooks=hooks)
    if carry_out(planned, "all is in place.", yes=yes):
        _forget_hooks(state_dir)
        typer.echo("Sessions that run already take it up when they are started again at the latest.")
        typer.echo("Now ask Claude Code something: its plan figures come with the answer, for Pro and Max.")
    for change in planned:
        _warn(change.path)


def _forget_hooks(state_dir: Path) -> None:
    """Until the next hook runs nobody knows whether Claude waits."""
    import contextlib

    from claude_gauge.hooks.spool import FOLDER, HOOKS, remove

    with contextlib.suppress(OSError):  # a folder that can't be written to is told by `doctor`
        remove(str(state_dir / FOLDER / HOOKS))


def _warn(path: Path) -> None:
    from claude_gauge.claude_code.folders import obstacles, project_obstacles

    for obstacle in (*obstacles(path), *project_obstacles([Path.cwd()], path)):
        typer.echo(f"Note: {obstacle.found}; {obstacle.advice}.", err=True)
