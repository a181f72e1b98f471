"""Token changes -> sums over time: the last minute and five minutes, the 5-hour block, the last 7 days.

`Window` is exact to the millisecond as time passes. `Blocks` follows ccusage's rule, a local guess at the plan's own
window: a block starts at its first entry, floored to the UTC hour. A new one begins with an entry more than 5 h after
that start or more than 5 h after the entry before. A block is active while now is less than 5 h after both its start
and its last entry. (Within 5 h of a block's start there is no room for a pause of 5 h: the start alone decides.)
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter as Multiset
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from claude_gauge.contract.plan_window import AHEAD_S
from claude_gauge.contract.usage import family
from claude_gauge.counting.ledger import Change
from claude_gauge.counting.reading import Block, Tokens, Traffic
from claude_gauge.counting.settled import in_order

MINUTE_S, FIVE_MINUTES_S = 60.0, 300.0
_KEEP = 4096
_GRID_S = 5.0

# The time, the five fields of Tokens, and 1 where the thinking share is estimated.
_Event = tuple[float, float, float, float, float, float, int]
_at = itemgetter(0)


class _Sliding:
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
        """Return the sum; never negative, also when a correction is left and what it corrects is gone."""
        return Tokens(*(max(0, each) for each in self.sums[:5]))


def _event(at: float, tokens: Tokens, *, estimated: bool) -> _Event:
    return (
        at, tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation, tokens.thinking, int(estimated),
    )  # fmt: skip


class Window:
    """The recent traffic, by the lines' own times; history never moves it."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._minute, self._five = _Sliding(MINUTE_S), _Sliding(FIVE_MINUTES_S)
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


FIVE_HOURS_S = 5 * 3600.0
WEEK_S = 7 * 86400.0
_HOUR_S = 3600.0
_Entry = tuple[float, int]
_MOST_LATE = 16384


@dataclass(slots=True)
class Span:
    """One block: its start, its first and last entry (epoch seconds) and its tokens."""

    start: float
    first_at: float
    last_at: float
    tokens: int


class Blocks:
    """Entries in order of time, 16 bytes each, and the chain of blocks that they make.

    What comes in order is put in at once. Anything else waits until somebody asks, and is then sorted in together:
    history comes in any order, hundreds of thousands at a time.
    """

    def __init__(self) -> None:
        self._ats = array("d")
        self._totals = array("q")
        self._chain: list[Span] = []
        self._firsts: list[float] = []
        self._late_ats, self._late_totals = array("d"), array("q")  # to be put in
        self._gone: list[_Entry] = []  # to be taken out
        self._forgotten = -math.inf  # what is older was dropped

    def apply(self, change: Change) -> None:
        """Put in, correct or take out one response, as the ledger says."""
        before, after = (each and (each.filed_at, each.total) for each in change)
        if before is not None:
            if before == after or before[0] < self._forgotten:
                return  # what was forgotten stays so
            self._gone.append(before)
        if after is not None:
            self.add(*after)

    def add(self, at: float, total: int) -> None:
        """Put in one response: its time (epoch seconds) and its tokens."""
        if self._ats and at < self._ats[-1]:
            self.add_all([at], [total])
            return
        self._ats.append(at)
        self._totals.append(total)
        if self._chain and at - self._chain[-1].start <= FIVE_HOURS_S:
            self._chain[-1].last_at = at
            self._chain[-1].tokens += total
        else:
            self._begin(Span(at - at % _HOUR_S, at, at, total))

    def add_all(self, ats: Iterable[float], totals: Iterable[int]) -> None:
        """Put in responses in any order."""
        self._late_ats.extend(ats)
        self._late_totals.extend(totals)
        if len(self._late_ats) > max(_MOST_LATE, len(self._ats) // 4):
            self._sort_in()

    def history(self) -> list[Span]:
        """Return all blocks that the entries make, oldest first."""
        if self._late_ats or self._gone:
            self._sort_in()
        return self._chain

    def _sort_in(self) -> None:
        times = (*self._late_ats, *(at for at, _ in self._gone))
        first, last = min(times), max(times)
        low, high = bisect_left(self._ats, first), bisect_right(self._ats, last)
        ats, totals = self._ats[low:high] + self._late_ats, self._totals[low:high] + self._late_totals
        if self._gone:
            ats, totals = _without(ats, totals, self._gone)
        self._ats[low:high], self._totals[low:high] = in_order(ats, totals)
        self._late_ats, self._late_totals, self._gone = array("d"), array("q"), []
        self._rebuild(first, last)

    def _rebuild(self, since: float, until: float) -> None:
        """Rebuild the chain where entries between two times have changed.

        Nothing moves the blocks before the one in which the first lies, nor those from the first block behind the
        last that begins where one began before.
        """
        index = max(0, bisect_right(self._firsts, since) - 1)
        low = bisect_left(self._ats, self._firsts[index]) if index else 0
        chain, firsts = self._chain[index:], self._firsts[index:]
        del self._chain[index:], self._firsts[index:]
        while low < len(self._ats):
            first = self._ats[low]
            if first > until:
                same = bisect_left(firsts, first)
                if same < len(firsts) and firsts[same] == first:
                    self._chain += chain[same:]
                    self._firsts += firsts[same:]
                    return
            start = first - first % _HOUR_S
            high = bisect_right(self._ats, start + FIVE_HOURS_S, low)
            self._begin(Span(start, first, self._ats[high - 1], sum(self._totals[low:high])))
            low = high

    def _begin(self, span: Span) -> None:
        self._chain.append(span)
        self._firsts.append(span.first_at)

    def current(self, now: float) -> Block:
        """Return the block that is active at `now`, an empty one where none is."""
        for span in reversed(self.history()):
            if span.first_at > now + AHEAD_S:
                continue
            if span.last_at > now + AHEAD_S:
                span = self._until(span, now + AHEAD_S)  # noqa: PLW2901 - the same block, as far as it goes now
            if now - span.start < FIVE_HOURS_S and now - span.last_at < FIVE_HOURS_S:
                return Block(span.tokens, span.start, span.start + FIVE_HOURS_S)
            return Block()
        return Block()

    def _until(self, span: Span, now: float) -> Span:
        low, high = bisect_left(self._ats, span.first_at), bisect_right(self._ats, now)
        return Span(span.start, span.first_at, self._ats[high - 1], sum(self._totals[low:high]))

    def week(self, now: float) -> int:
        """Sum the tokens of the 7 days before `now`."""
        since, total = now - WEEK_S, 0
        for span in self.history():
            if span.first_at > since and span.last_at <= now:
                total += span.tokens
            elif span.last_at > since and span.first_at <= now + AHEAD_S:
                low = max(bisect_right(self._ats, since), bisect_left(self._ats, span.first_at))
                high = min(bisect_right(self._ats, now + AHEAD_S), bisect_right(self._ats, span.last_at))
                total += sum(self._totals[low:high])
        return total

    def minutes(self, since: float, until: float) -> dict[int, int]:
        """Sum the tokens of each minute (numbered from the epoch) that had any."""
        sums: dict[int, int] = {}
        for index in range(bisect_right(self._ats, since), bisect_right(self._ats, until)):
            minute = int(self._ats[index] // 60)
            sums[minute] = sums.get(minute, 0) + self._totals[index]
        return sums

    def since_pause(self) -> float | None:
        """Return the first entry after the last pause of over 5 h: older entries change no present block."""
        chain = self.history()
        for later, earlier in zip(reversed(chain), reversed(chain[:-1]), strict=False):
            if later.first_at - earlier.last_at > FIVE_HOURS_S:
                return later.first_at
        return chain[0].first_at if chain else None

    def forget(self, before: float) -> None:
        """Drop whole blocks that ended before a time (epoch seconds)."""
        chain = self.history()
        kept = next((i for i, span in enumerate(chain) if span.last_at >= before), len(chain))
        if kept == 0:
            return
        gone = bisect_left(self._ats, chain[kept].first_at) if kept < len(chain) else len(self._ats)
        self._forgotten = chain[kept].first_at if kept < len(chain) else before
        del self._ats[:gone], self._totals[:gone], self._chain[:kept], self._firsts[:kept]


def _without(ats: array[float], totals: array[int], gone: list[_Entry]) -> tuple[array[float], array[int]]:
    """Take out each of the gone once."""
    left, kept_ats, kept_totals = Multiset(gone), array("d"), array("q")
    for entry in zip(ats, totals, strict=True):
        if left.get(entry):
            left[entry] -= 1
        else:
            kept_ats.append(entry[0])
            kept_totals.append(entry[1])
    return kept_ats, kept_totals
