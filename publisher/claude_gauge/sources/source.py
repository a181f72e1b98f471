"""What a source is: something that knows usage, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from claude_gauge.counting.reading import Reading


class Source(Protocol):
    """Something that knows usage: it works in threads of its own and answers at once with what it knows last."""

    def start(self, changed: Callable[[], None]) -> None:
        """Begin; call `changed` (from any thread) whenever `read` would answer differently."""

    def read(self, now: float) -> Reading:
        """Tell what is known at `now`; never blocks, never raises for a source that is away."""

    def due(self, now: float) -> float | None:
        """Tell when the reading will next change by the passing of time alone, if it will."""

    def stop(self) -> None:
        """End all threads and children; safe to call twice."""


@runtime_checkable
class Remembers(Protocol):
    """A source that knows what was used before the publisher began."""

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Tell the tokens of each minute (numbered from the epoch) after `since`; None until it knows."""


@runtime_checkable
class Loads(Protocol):
    """A source that can read what is there without following it."""

    def load(self) -> None:
        """Read what is there now."""
