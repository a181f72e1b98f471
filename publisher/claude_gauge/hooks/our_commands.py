"""How our commands and their options are read again in Claude Code's settings."""

from __future__ import annotations

import os

PROGRAM = "claude-gauge"


def parse(arguments: list[str]) -> dict[str, str] | None:
    """Read `--state-dir X --then X`; None for anything else."""
    if len(arguments) % 2:
        return None
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return options if set(options) <= {"--state-dir", "--then"} else None


def options(command: object, name: str) -> dict[str, str] | None:
    """Return the options of our own command; None for anybody else's, also one that pipes ours on."""
    import shlex  # noqa: PLC0415 - 4 ms that a hook need not pay

    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return None
    if words[1:3] == ["-m", "claude_gauge"]:
        words = [PROGRAM, *words[3:]]
    if len(words) < 2 or os.path.basename(words[0]) != PROGRAM or words[1] != name:  # noqa: PLR2004, PTH119
        return None
    return parse(words[2:])
