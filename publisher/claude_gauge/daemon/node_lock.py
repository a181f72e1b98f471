"""One publisher per node on this machine: a lock on a file, gone with its process however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_gauge.errors import AlreadyPublishingError, GaugeError

log = logging.getLogger(__name__)
_NO_ROOM = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # a disk's state, which must not stop a publisher


class NodeLock:
    """Hold this node for this process; raises AlreadyPublishingError naming the process that holds it.

    On a disk that is full or can only be read there is no lock, which is told.
    """

    def __init__(self, state_dir: Path, node: str) -> None:
        self._node = node
        self._path = state_dir.expanduser() / f"{node}.lock"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _NO_ROOM:
                why = error.strerror
                log.warning("state_dir: cannot write %s: %s; a second publisher would go unnoticed", self._path, why)
                self._file = -1
                return
            raise GaugeError(f"state_dir: cannot write {self._path}: {error.strerror}; name another folder") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyPublishingError(self._told()) from None
        except OSError as error:  # some network file systems have no locks
            os.close(self._file)
            raise GaugeError(f"state_dir: cannot lock {self._path}: {error.strerror}; name another folder") from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds without telling whose it is
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _told(self) -> str:
        holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
        os.close(self._file)
        who = f"process {holder}" if holder else "another process"
        return f"{who} publishes node {self._node} already; stop it, or give this one another --node"

    def release(self) -> None:
        """Let the node go; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
