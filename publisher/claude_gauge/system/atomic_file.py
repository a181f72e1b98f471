"""Reads files within bounds; replaces them atomically: a reader sees the old or the new content, whatever ends us.

`StateFile` is such a file for what a running program keeps for its next start. Something else may stand in a file's
place: a pipe would never answer, a device never end, and a link leads anywhere; nothing of it is read or replaced.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

log = logging.getLogger(__name__)
Kept = TypeVar("Kept")
MOST_BYTES = 1 << 24  # of state and settings: thousands of times what they have


def opened(path: Path, *, pipes: bool = False) -> BinaryIO:
    """Open a file for reading; raises OSError, also for a folder, a pipe or a device; `pipes`: for a folder alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK))
    try:
        _check_kind(path, os.fstat(descriptor), pipes=pipes)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read(path: Path, *, most: int = MOST_BYTES, pipes: bool = False) -> bytes:
    """Return a file's content; raises OSError as `opened` does, and for more than `most` bytes."""
    with opened(path, pipes=pipes) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, "it is too large", str(path))
    return content


def _check_kind(path: Path, status: os.stat_result, *, pipes: bool = False) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not (pipes or stat.S_ISREG(status.st_mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `content` to where `path` leads, keeping the mode and owner of a file that is there.

    Raises OSError that names this path or a folder above it.
    """
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        _replace(real, content, mode)
    except OSError as error:  # it may name what was written aside, or nothing at all
        raise OSError(error.errno, error.strerror, str(real)) from error


def _replace(real: Path, content: bytes, mode: int) -> None:
    old = real.stat() if real.exists() else None
    if old:
        _check_kind(real, old)
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

    def exists(self) -> bool:
        """Return whether something is there that can be seen."""
        try:
            self.path.stat()
        except OSError:
            return False
        return True

    def read(self, parse: Callable[[bytes], Kept]) -> Kept | None:
        """Return what `parse` makes of the content; None where there is no file, or none that can be understood."""
        try:
            return parse(read(self.path))
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
