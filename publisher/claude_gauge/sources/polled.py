"""One thread that asks a slow source again and again, so that nobody who reads has to wait for an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_S = 2.0  # what the first payload waits for at most

Wait = Callable[[float], bool]


class Polled:
    """Calls `ask`, then rests `interval_s` from its beginning, or as `rest` does; `ask` must not raise.

    `rest` is handed how many seconds `ask` took, and a wait(seconds) that tells whether the end has come.
    """

    def __init__(
        self, name: str, ask: Callable[[], None], rest: float | Callable[[float, Wait], None], ended: Callable[[], None]
    ) -> None:
        self._name, self._ask, self._ended = name, ask, ended
        self._rest = rest if callable(rest) else lambda took, wait: wait(max(0.0, rest - took)) and None
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> bool:
        """Tell whether the end was asked for."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to ask; returns after the first answer, two seconds at most."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        self._asked.wait(FIRST_S)

    def stop(self, wait_s: float) -> None:
        """End the thread, or leave it to its own end after so many seconds; safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(wait_s)
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._ask()
            self._asked.set()
            self._rest(time.monotonic() - begun, self._stopping.wait)
        self._ended()
