"""Token changes -> sums over the last minute and the last five, exact to the millisecond as time passes."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter

from claude_gauge.contract.plan_window import AHEAD_S
from claude_gauge.contract.usage import family
from claude_gauge.counting.reading import Tokens, Traffic

MINUTE_S, FIVE_MINUTES_S = 60.0, 300.0
_KEEP = 4096
_GRID_S = 5.0

# The time, the five fields of Tokens, and 1 where the thinking share is estimated.
_Event = tuple[float, float, float, float, float, float, int]
_at = itemgetter(0)


class _Span:
    """Sum of the events in (now - length, now]; both ends are indices that move with the clock, either way."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self.low = self.high = 0
        self.sums = [0.0] * 6

    def _count(self, event: _Event, sign: int) -> None:
        for i in range(6):
            self.sums[i] += sign * event[i + 1]

    def inserted(self, index: int, event: _Event) -> None:
        """Keep the sum right after an event was put at `index` of the list."""
        if index < self.low:
            self.low += 1
            self.high += 1
        elif index < self.high:
            self.high += 1
            self._count(event, 1)

    def removed(self, index: int, event: _Event) -> None:
        """Keep the sum right after the event at `index` was taken out of the list."""
        if index < self.low:
            self.low -= 1
            self.high -= 1
        elif index < self.high:
            self.high -= 1
            self._count(event, -1)

    def move(self, events: list[_Event], now: float) -> None:
        """Let the span end at `now`; the clock may have gone either way."""
        low, high = bisect_right(events, now - self.length_s, key=_at), bisect_right(events, now, key=_at)
        if low >= self.high or high <= self.low:
            self.low = self.high = low
            self.sums = [0.0] * 6
        for ends, sign in (
            ((self.low, low), -1),
            ((low, self.low), 1),
            ((self.high, high), 1),
            ((high, self.high), -1),
        ):
            for index in range(*ends):
                self._count(events[index], sign)
        self.low, self.high = low, high

    def tokens(self) -> Tokens:
        """Return the sum; a correction that outlives what it corrects never shows as negative."""
        return Tokens(*(max(0, each) for each in self.sums[:5]))


def _event(at: float, tokens: Tokens, *, estimated: bool) -> _Event:
    return (
        at, tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation, tokens.thinking, int(estimated),
    )  # fmt: skip


class Window:
    """The recent traffic, by the lines' own times; history never moves it."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._minute, self._five = _Span(MINUTE_S), _Span(FIVE_MINUTES_S)
        self._newest_at: float | None = None
        self._model = ""

    def add(self, at: float, tokens: Tokens, *, estimated: bool = False) -> None:
        """Count tokens at a time (epoch seconds)."""
        event = _event(at, tokens, estimated=estimated)
        events = self._events
        index = len(events) if not events or at >= events[-1][0] else bisect_right(events, at, key=_at)
        events.insert(index, event)
        self._minute.inserted(index, event)
        self._five.inserted(index, event)

    def remove(self, at: float, tokens: Tokens, *, estimated: bool = False) -> None:
        """Take back what `add` was given; what is long past may be gone already."""
        if not self._events or at < self._events[0][0]:
            return
        event = _event(at, tokens, estimated=estimated)
        index = bisect_left(self._events, at, key=_at)
        while index < len(self._events) and self._events[index][0] == at:
            if self._events[index] == event:
                del self._events[index]
                self._minute.removed(index, event)
                self._five.removed(index, event)
                return
            index += 1

    def seen(self, at: float, model: str, now: float) -> None:
        """Note that a message of this model was written at a time; the newest is remembered."""
        if at > now + AHEAD_S:
            return
        # What is the newest by a clock that has since been set back would hide all that follows.
        if self._newest_at is None or at >= self._newest_at or self._newest_at > now + AHEAD_S:
            self._newest_at = at
            self._model = model or self._model

    def traffic(self, now: float) -> Traffic:
        """Return the sums as of `now`."""
        self._minute.move(self._events, now)
        self._five.move(self._events, now)
        self._prune()
        return Traffic(
            minute=self._minute.tokens(),
            five_minutes=self._five.tokens(),
            thinking="estimated" if self._five.sums[5] > 0 else "exact",
            model=family(self._model),
            newest_at=self._newest_at,
        )

    def due(self, now: float) -> float | None:
        """Return when the sums should next be looked at because time passed.

        The minute's at the moment of its change. The five minutes' ratios move little as one of a thousand responses
        leaves: they are looked at on a grid, so that a busy minute does not wake an idle machine five minutes later.
        """
        self._minute.move(self._events, now)
        self._five.move(self._events, now)
        times = []
        if self._minute.low < self._minute.high:
            times.append(self._events[self._minute.low][0] + MINUTE_S)
        if self._five.low < self._five.high:
            leaves = self._events[self._five.low][0] + FIVE_MINUTES_S
            times.append(max(leaves, math.ceil(leaves / _GRID_S) * _GRID_S))
        if self._minute.high < len(self._events):
            times.append(self._events[self._minute.high][0])
        return min(times, default=None)

    def _prune(self) -> None:
        gone = self._five.low
        if gone > _KEEP:
            del self._events[:gone]
            for span in (self._minute, self._five):
                span.low -= gone
                span.high -= gone
