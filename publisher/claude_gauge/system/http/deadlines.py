"""What each connection is doing, and until when it has to be done with that; one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from enum import Enum
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
LOOK_S = 0.25


class Phase(Enum):
    """What a connection does, and how many seconds it has for it, however many bytes come meanwhile."""

    HEAD = 5.0
    BODY = 30.0
    IDLE = 150.0  # exporters keep a connection between exports, by default a minute apart
    WORKING = None


class Deadlines(Generic[T]):
    """In one phase the time is the same for all, so the first that began is the first that is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._due: dict[Phase, dict[T, float]] = {phase: {} for phase in Phase if phase.value is not None}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, one: T, phase: Phase) -> None:
        """Give it the phase's full time from now on."""
        self.end(one)
        if phase.value is not None:
            self._due[phase][one] = self._loop.time() + phase.value
            if self._timer is None:
                self._timer = self._loop.call_later(LOOK_S, self._look)

    def end(self, one: T) -> None:
        """Forget one that did what it had to, or is gone."""
        for waiting in self._due.values():
            waiting.pop(one, None)

    def oldest(self, *phases: Phase) -> T | None:
        """Return the one that has been in these phases the longest."""
        firsts = [
            (due - (phase.value or 0), one) for phase in phases for one, due in islice(self._due[phase].items(), 1)
        ]
        return min(firsts, key=itemgetter(0), default=(0.0, None))[1]

    def __len__(self) -> int:
        return sum(map(len, self._due.values()))

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for waiting in self._due.values():
            while (one := next(iter(waiting), None)) is not None and waiting[one] <= now:
                del waiting[one]
                self._expired(one)
        if len(self):
            self._timer = self._loop.call_later(LOOK_S, self._look)
