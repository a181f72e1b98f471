"""`claude-gauge setup`: tells Claude Code to tell us the plan's figures and when it waits."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import Config, with_settings


@with_settings("state_dir")
def setup(
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Take all of it out again")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking")] = False,
    statusline: Annotated[bool, typer.Option(help="Put in the statusline (plan figures)")] = True,
    hooks: Annotated[bool, typer.Option(help="Put in the hooks (Claude waits for you)")] = True,
    config: Config,
) -> None:
    """Add our statusline and hooks to Claude Code's settings: shows the change first, keeps all else, backs up.

    Your own statusline goes on working and is given back by --undo.
    """
    import contextlib
    import os
    import sys
    import time

    from claude_gauge.claude_code import changes
    from claude_gauge.claude_code.ours_spelled import Ours, is_fleeting, program
    from claude_gauge.claude_code.settings_file import config_dirs, read
    from claude_gauge.errors import GaugeError
    from claude_gauge.hooks.spool import FOLDER, HOOKS, remove

    folders = config_dirs(os.environ)
    state_dir = config.settings.state_dir.expanduser().absolute()
    words = program(sys.argv[0])
    if is_fleeting(words) and not undo:
        raise GaugeError(f"{words[0]} is a passing copy in a cache; install claude-gauge, then run its setup")
    ours = Ours(words, str(state_dir))
    planned = (
        changes.take_out(folders)
        if undo
        else changes.put_in(folders, ours, with_statusline=statusline, with_hooks=hooks)
    )
    needed = [change for change in planned if change.needed]
    for change in needed:
        typer.echo(change.diff())
    if not needed:
        typer.echo("Nothing to do: " + ("nothing of ours is in there." if undo else "all is in place."))
    elif not yes and not typer.confirm("Write this?" if len(needed) == 1 else f"Write these {len(needed)} files?"):
        typer.echo("Nothing written.")
        raise typer.Exit(1)
    for change in needed:
        backup = change.write(time.time())
        typer.echo(f"{'Wrote' if change.after is not None else 'Removed'} {change.path}")
        typer.echo(f"  backup: {backup}" if backup else "  there was no such file before")
    if undo:
        with contextlib.suppress(OSError):  # from now on nobody knows whether Claude waits
            remove(str(state_dir / FOLDER / HOOKS))
    elif needed:
        typer.echo("Sessions that run already take it up when they are started again at the latest.")
    for change in planned:
        if not undo and read(change.path).get("disableAllHooks") is True:
            typer.echo(f"Note: {change.path} says disableAllHooks: neither hooks nor statusline will run.", err=True)
