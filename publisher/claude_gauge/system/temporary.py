"""Folders for the time of a command. What a killed one left may hold a password; the next of its kind removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEW_S = 60.0  # a folder so young may be one that its process has not locked yet
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """Make a folder that this user alone may enter, and remove it at the end.

    Its lock, which ends with the process, tells it from those of the same kind whose processes were killed.
    """
    prefix = f"claude-gauge-{kind}-"
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        lock = os.open(folder, _FOLDER)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            for path in Path(folder).parent.glob(f"{prefix}*"):
                with suppress(OSError):  # another user's, or gone meanwhile
                    _remove_if_left(path)
            yield Path(folder)
        finally:
            os.close(lock)


def _remove_if_left(path: Path) -> None:
    """Remove a folder of this user that no process holds; raises OSError."""
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or time.time() - info.st_mtime < NEW_S:
        return
    held = os.open(path, _FOLDER)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(held)
