"""The options of our commands in Claude Code's settings."""

from __future__ import annotations


def parse(arguments: list[str]) -> dict[str, str] | None:
    """Read `--state-dir X --then X`; None for anything else."""
    if len(arguments) % 2:
        return None
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return options if set(options) <= {"--state-dir", "--then"} else None
