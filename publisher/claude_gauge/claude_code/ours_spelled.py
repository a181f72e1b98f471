"""How our commands are written in Claude Code's settings, and how they are known again there.

The person's earlier statusline lies in our command itself (`--then`): it can't get lost, whatever becomes of the
state folder, and a person who reads their settings sees it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from claude_gauge.hooks.our_commands import PROGRAM, options


class Ours:
    """Spells our commands: which program, writing to which state folder."""

    def __init__(self, program: Sequence[str], state_dir: str) -> None:
        self._words = list(program)
        self._state_dir = state_dir

    def statusline(self, then: str | None) -> str:
        """Return the statusline's command, which runs `then` afterwards."""
        return self._command("statusline", *(() if then is None else ("--then", then)))

    def hook(self) -> str:
        """Return the hooks' command."""
        return self._command("hook")

    def _command(self, name: str, *more: str) -> str:
        return shlex.join([*self._words, name, "--state-dir", self._state_dir, *more])


def program(argv0: str) -> list[str]:
    """Return the words that start this very program from any folder and PATH.

    Links are kept: `~/.local/bin/claude-gauge` outlives the versions that it points to.
    """
    path = os.path.abspath(argv0)  # noqa: PTH100 - Path.resolve would follow links
    if os.path.basename(path) == PROGRAM and os.access(path, os.X_OK):  # noqa: PTH119 - as above
        return [path]
    return [sys.executable, "-m", "claude_gauge"]


def is_fleeting(words: Sequence[str]) -> bool:
    """Tell whether the program lies in a cache, where `uvx` and `pipx run` put it and from where it will vanish."""
    return not {".cache", "Caches"}.isdisjoint(Path(words[0]).parts)


def is_ours(command: object, name: str) -> bool:
    """Tell whether a command is the one named, as any version of us from any place wrote it."""
    return options(command, name) is not None
