"""What may stand where a file should: nothing of it may be waited for, read to its end or replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

LARGE = 100_000_000


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, LARGE)


IN_PLACE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": _link_to_a_pipe,
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "100 MB": _large,
}
