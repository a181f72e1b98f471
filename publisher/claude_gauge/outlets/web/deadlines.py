"""Connections that must do something within a fixed time; one timer for all, none while there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """The time is the same for all, so the first that began is the first that is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._expired = expired
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, one: T) -> None:
        """Give it the full time from now on."""
        self._due.pop(one, None)
        self._due[one] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._due[one], self._look)

    def end(self, one: T) -> None:
        """Forget one that did what it had to, or is gone."""
        self._due.pop(one, None)

    def oldest(self) -> T | None:
        """Return the one that has had the longest."""
        return next(iter(self._due), None)

    def _look(self) -> None:
        self._timer = None
        while (one := self.oldest()) is not None:
            if self._due[one] > self._loop.time():
                self._timer = self._loop.call_at(self._due[one], self._look)
                return
            del self._due[one]
            self._expired(one)
