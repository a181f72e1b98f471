"""Wakes the link's thread from any other thread."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable


class Wake:
    """A pair of sockets: what is written to one ends a wait on the other."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.settimeout(0)
        self._writer.settimeout(0)

    def __call__(self) -> None:
        """End the present wait, or the next one."""
        with contextlib.suppress(OSError):  # full: a wake-up is under way already
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(OSError):
            self.reader.recv(4096)

    def close(self) -> None:
        """Close both; a later wake-up does nothing."""
        self.reader.close()
        self._writer.close()

    def rest(self, seconds: float, over: Callable[[], bool]) -> None:
        """Wait so long, or until `over` says so after a wake-up."""
        end = time.monotonic() + seconds
        while not over() and (left := end - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self.reader, select.POLLIN)
            poll.poll(left * 1000)
            self.drain()
