"""Replaces a file atomically: a reader sees the old or the new content, also after a power cut.

`StateFile` is such a file for what a running program keeps for its next start.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)
Kept = TypeVar("Kept")


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `content` to where `path` leads, keeping the mode and owner of a file that is there; raises OSError."""
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    old = real.stat() if real.exists() else None
    fresh = real.with_name(f".{real.name}.{os.getpid()}.tmp")
    try:
        create(fresh, content, stat.S_IMODE(old.st_mode) if old else mode)
        if old and old.st_uid != os.geteuid():
            os.chown(fresh, old.st_uid, old.st_gid)
        fresh.replace(real)
    finally:
        fresh.unlink(missing_ok=True)


def create(path: Path, content: bytes, mode: int) -> None:
    """Write a file that its owner alone can read until all of it is on the disk; then set its mode."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


class StateFile:
    """State for the next start. A disk that fails, or a damaged file, is a warning and stops nothing.

    `lost` says, for the log, what is lost without the file. A write that fails is logged once, until one succeeds or
    fails for another reason.
    """

    def __init__(self, path: Path, lost: str) -> None:
        self.path = path.expanduser()
        self._lost = lost
        self._trouble = ""  # of the last write

    def read(self, parse: Callable[[bytes], Kept]) -> Kept | None:
        """Return what `parse` makes of the content; None where there is no file, or none that can be understood."""
        try:
            return parse(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "it is damaged"
            log.warning("cannot read %s (%s): %s", self.path, why, self._lost)
            return None

    def write(self, content: bytes) -> bool:
        """Replace the content; False where the disk refused it."""
        before, self._trouble = self._trouble, ""
        try:
            replace(self.path, content)
        except OSError as error:
            self._trouble = error.strerror or type(error).__name__
            if self._trouble != before:
                log.warning("cannot write %s (%s): %s", self.path, self._trouble, self._lost)
        return not self._trouble
