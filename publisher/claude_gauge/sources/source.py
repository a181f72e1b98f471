"""The interface of a source of usage, and the thread that polls a slow one, so that `read` never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from claude_gauge.counting.reading import Reading


class Source(Protocol):
    """A source of usage: it works in threads of its own; `read` returns its newest figures at once."""

    def start(self, changed: Callable[[], None]) -> None:
        """Begin; call `changed` (from any thread) whenever `read` would answer differently.

        It may ask `read` and `due` at once: call it without a lock that they take.
        """

    def read(self, now: float) -> Reading:
        """Return the reading at `now`; never blocks, and never raises while the source is away."""

    def due(self, now: float) -> float | None:
        """Return when the reading next changes by the passing of time alone (epoch seconds), or None."""

    def stop(self) -> None:
        """End all threads and children; safe to call twice."""


@runtime_checkable
class Remembers(Protocol):
    """A source that has figures from before the publisher's start."""

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return the tokens of each minute (numbered from the epoch) after `since`; None until they are read."""


@runtime_checkable
class Loads(Protocol):
    """A source that can read what is there without following it."""

    def load(self) -> None:
        """Read what is there now."""


FIRST_S = 2.0  # what the first payload waits for at most

Wait = Callable[[float], bool]
"""Waits so many seconds, less when the end has come; returns whether it has."""

Rest = Callable[[float, Wait], None]
"""Rests after an answer that took so many seconds."""


def every(interval_s: float) -> Rest:
    """Ask once per interval, at once where an answer took longer."""

    def rest(took_s: float, wait: Wait) -> None:
        wait(max(0.0, interval_s - took_s))

    return rest


class Polled:
    """Calls `ask`, then `rest`, until it is stopped; `ask` must not raise.

    `interrupt` ends an `ask` that takes long, from another thread; `ended` is the last thing that the thread calls.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], None],
        rest: Rest,
        *,
        interrupt: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._ask, self._rest = name, ask, rest
        self._interrupt, self._ended = interrupt, ended
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> bool:
        """Return whether the end was asked for."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to ask; returns after the first answer, two seconds at most."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        self._asked.wait(FIRST_S)

    def stop(self, wait_s: float) -> None:
        """End the thread, or leave it to its own end after so many seconds; safe to call twice."""
        self._stopping.set()
        self._interrupt()
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
