"""The one-publisher lock of a node, the messages to systemd, and what a process asks of its C library and of Python."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import math
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_gauge.contract.usage import FLEET_NODE
from claude_gauge.errors import AlreadyPublishingError, GaugeError

log = logging.getLogger(__name__)

_NO_ROOM = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # a disk's state, which must not stop a publisher
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 300_000  # larger than what is read of a file at once
_TURN_S = 0.001


def give_back_memory() -> None:
    """Have glibc give large blocks back to the system once they are free; other C libraries are left alone.

    The arrays of a long history grow by moving: the holes would make up a tenth of the publisher's memory.
    """
    import ctypes  # noqa: PLC0415 - milliseconds that `NodeLock` alone does not need

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def take_short_turns() -> None:
    """Have Python's threads take turns of a millisecond instead of five, while several have work.

    Whoever only passes a value on waits for a turn of the others each time it was away: behind a large export that is
    decoded, a small one waited for 50 to 90 ms, and now 10 to 50 ms.
    """
    sys.setswitchinterval(_TURN_S)


class NodeLock:
    """This process's lock on a node, held in a `with`; a second process that wants it gets AlreadyPublishingError.

    On a full or read-only disk there is no lock; the log says so.
    """

    def __init__(self, state_dir: Path, node: str) -> None:
        self._node = node
        self._path = state_dir.expanduser() / f"{node}.lock"
        self._lost = False
        self._file = -1  # its descriptor, -1 while there is none

    def _taken(self) -> int:
        """Make the file and lock it; return its descriptor, -1 where the disk takes none."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _NO_ROOM:
                why = error.strerror
                log.warning("state_dir: cannot write %s: %s; a second publisher would go unnoticed", self._path, why)
                return -1
            raise GaugeError(f"state_dir: cannot write {self._path}: {error.strerror}; name another folder") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyPublishingError(self._holder(file)) from None
        except OSError as error:  # some network file systems have no locks
            os.close(file)
            raise GaugeError(f"state_dir: cannot lock {self._path}: {error.strerror}; name another folder") from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds, without the holder's process number
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return file

    def keep(self) -> None:
        """Lock the file again where somebody removed it, as when a state folder is emptied; call it now and then."""
        if self._file < 0 or self._stands():
            return
        try:
            fresh = self._taken()
        except GaugeError as error:
            if not self._lost:
                log.warning("%s was removed, and could not be locked again: %s", self._path, error)
            self._lost = True
            return
        if fresh >= 0:
            log.warning("%s was removed while node %s is published; it is there again", self._path, self._node)
            os.close(self._file)
            self._file, self._lost = fresh, False

    def _stands(self) -> bool:
        """Return whether the file that is locked is the one that the next publisher would find."""
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            return False

    def _holder(self, file: int) -> str:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        os.close(file)
        who = f"process {holder}" if holder else "another process"
        advice = "" if self._node == FLEET_NODE else ", or give this one another --node"
        return f"{who} publishes node {self._node} already; stop it{advice}"

    def __enter__(self) -> Self:
        self._file = self._taken()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send a state such as `READY=1` or `WATCHDOG=1` (see sd_notify(3)); False where nobody listens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(state.encode(), name)
    except OSError:
        return False
    return True


class Watchdog:
    """Called by the loop at each pass; systemd restarts a service whose loop stands still for WATCHDOG_USEC."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        patience = environ.get("WATCHDOG_USEC", "")
        self.every_s = int(patience) / 3e6 if ours and patience.isdecimal() and int(patience) > 0 else math.inf

    def __call__(self) -> float:
        """Report that the loop is alive; return within how many seconds it must be called again."""
        if self.every_s < math.inf:
            notify("WATCHDOG=1", self._environ)
        return self.every_s
