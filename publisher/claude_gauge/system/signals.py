"""Ends a running job in order on SIGTERM, SIGHUP or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

ENDING = (signal.SIGTERM, signal.SIGHUP)


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
