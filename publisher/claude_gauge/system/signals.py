"""Ends a running job in order on SIGTERM, SIGHUP or Ctrl-C; removes the temporary folders of jobs that were killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

ENDING = (signal.SIGTERM, signal.SIGHUP)
NEW_S = 60.0  # a folder so young may be one that its process has not locked yet
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Runnable(Protocol):
    """Something that runs until `stop`, which is called from another thread."""

    def run(self) -> None:
        """Work until `stop` is called."""

    def stop(self) -> None:
        """End `run` soon."""


def until_signal(job: Runnable) -> None:
    """Run until SIGTERM or SIGHUP, which end it in good order, or Ctrl-C, which then exits with 130.

    A handler interrupts the main thread anywhere, also while that holds a lock that `stop` needs; so it only writes to
    a pipe, and a thread of its own calls `stop`. The pipe stays open: the handler outlives the job.
    """
    received: list[int] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def note(number: int, _frame: object) -> None:
        received.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b"\0")

    def stop() -> None:
        while os.read(reader, 1):
            job.stop()

    threading.Thread(target=stop, name="signals", daemon=True).start()
    _handle((*ENDING, signal.SIGINT), note)
    job.run()
    if signal.SIGINT in received:
        sys.exit(130)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as Ctrl-C does, through all `finally`, and the program with 0."""

    def leave(_number: int, _frame: object) -> None:
        for number in ENDING:  # one is enough: another must not interrupt the clearing up
            signal.signal(number, signal.SIG_IGN)
        sys.exit(0)

    _handle(ENDING, leave)
    yield


@contextmanager
def interrupt_exits() -> Iterator[None]:
    """Have Ctrl-C end the program at once, with 130: while modules are loaded there is nothing to clear up.

    A KeyboardInterrupt there may be lost: pydantic's core drops the one that comes while it builds a schema.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as in a shell's background
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _handle(numbers: tuple[int, ...], handler: Callable[[int, object], None]) -> None:
    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup: it outlives its terminal
            signal.signal(number, handler)


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
                with contextlib.suppress(OSError):  # another user's, or gone meanwhile
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
