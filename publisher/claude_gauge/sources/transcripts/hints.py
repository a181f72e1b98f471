"""Hints of where to look, from the threads of file events to the one that reads."""

from __future__ import annotations

import queue
import threading
import time

BREATH_S = 0.1  # no two payloads go out closer together


class Hints:
    """A queue of paths; None in it says that some were lost, and the end is an empty one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._heard_at = 0.0
        self._over = threading.Event()

    def put(self, hint: str | None) -> None:
        """Give a hint, from any thread."""
        self._queue.put(hint)

    def end(self) -> None:
        """Keep nobody waiting any more."""
        self._over.set()
        self._queue.put("")

    def take(self, wait_s: float) -> tuple[list[str], bool]:
        """Return all paths that were hinted at, once there is one or the time is up, and whether some were lost.

        Under a stream of events it rests first, so that many are taken at a time.
        """
        if wait_s and time.monotonic() - self._heard_at < BREATH_S:
            self._over.wait(BREATH_S)
        paths, lost = list[str](), False
        try:
            hint = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            self._heard_at = time.monotonic()
            while True:
                if hint:
                    paths.append(hint)
                lost = lost or hint is None
                hint = self._queue.get_nowait()
        except queue.Empty:
            return paths, lost
