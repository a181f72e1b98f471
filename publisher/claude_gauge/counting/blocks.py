"""The 5-hour block, by the rule that ccusage follows: a local guess at the plan's own window.

A block starts at its first entry, floored to the UTC hour. A new one begins with an entry more than 5 h after that
start or more than 5 h after the entry before. A block is active while now is less than 5 h after both its start and
its last entry.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from claude_gauge.contract.believable import AHEAD_S
from claude_gauge.counting.ledger import Change
from claude_gauge.counting.reading import Block

FIVE_HOURS_S = 5 * 3600.0
WEEK_S = 7 * 86400.0
_HOUR_S = 3600.0


@dataclass(slots=True)
class Span:
    """One block: its start, its first and last entry (epoch seconds) and its tokens."""

    start: float
    first_at: float
    last_at: float
    tokens: int

    def takes(self, at: float) -> bool:
        """Tell whether an entry after the last one still belongs to this block."""
        return at - self.start <= FIVE_HOURS_S and at - self.last_at <= FIVE_HOURS_S


class Blocks:
    """Entries in order of time, 16 bytes each, and the chain of blocks that they make."""

    def __init__(self) -> None:
        self._ats = array("d")
        self._totals = array("q")
        self._chain: list[Span] = []
        self._firsts: list[float] = []
        self._whole = True

    def apply(self, change: Change) -> None:
        """Put in, correct or take out one response, as the ledger says."""
        before, after = change
        if before is None and after is not None:
            self.add(after.filed_at, after.total)
        elif before is not None and after is None:
            self.remove(before.filed_at, before.total)
        elif before is not None and after is not None:
            self.move(before.filed_at, before.total, after.filed_at, after.total)

    def add(self, at: float, total: int) -> None:
        """Put in one response: its time (epoch seconds) and its tokens."""
        if not self._ats or at >= self._ats[-1]:
            self._ats.append(at)
            self._totals.append(total)
            if self._whole:
                self._extend(at, total)
            return
        index = bisect_right(self._ats, at)
        self._ats.insert(index, at)
        self._totals.insert(index, total)
        span = self._around(at)
        if span is None:
            self._whole = False
        else:
            span.tokens += total

    def move(self, old_at: float, old_total: int, at: float, total: int) -> None:
        """Correct one response: another total, and perhaps another time."""
        if (old_at, old_total) == (at, total):
            return
        index, span = self._index(old_at, old_total), self._around(old_at)
        if at == old_at and span is not None and index is not None:
            self._totals[index] = total
            span.tokens += total - old_total
        elif self.remove(old_at, old_total):
            self.add(at, total)

    def _index(self, at: float, total: int) -> int | None:
        index = bisect_left(self._ats, at)
        while index < len(self._ats) and self._ats[index] == at:
            if self._totals[index] == total:
                return index
            index += 1
        return None

    def remove(self, old_at: float, old_total: int) -> bool:
        """Take out one response; tell whether it was there."""
        index = self._index(old_at, old_total)
        if index is None:
            return False
        span = self._around(old_at)
        self._ats.pop(index)
        self._totals.pop(index)
        if span is not None and span.first_at < old_at < span.last_at:
            span.tokens -= old_total
        elif span is not None and index == len(self._ats):
            self._shorten(span, old_total)
        else:
            self._whole = False
        return True

    def _shorten(self, last: Span, total: int) -> None:
        """Take the newest entry out of the last block: what a response that still grows does all the time."""
        if self._ats and self._ats[-1] >= last.first_at:
            last.last_at = self._ats[-1]
            last.tokens -= total
        else:
            self._chain.pop()
            self._firsts.pop()

    def _extend(self, at: float, total: int) -> None:
        if self._chain and self._chain[-1].takes(at):
            self._chain[-1].last_at = at
            self._chain[-1].tokens += total
            return
        self._chain.append(Span(at - at % _HOUR_S, at, at, total))
        self._firsts.append(at)

    def _around(self, at: float) -> Span | None:
        """Find the block whose first and last entry enclose this time: what happens inside moves no border."""
        if not self._whole:
            return None
        index = bisect_right(self._firsts, at) - 1
        if index >= 0 and at <= self._chain[index].last_at:
            return self._chain[index]
        return None

    def history(self) -> list[Span]:
        """Return all blocks that the entries make, oldest first."""
        if not self._whole:
            self._chain, self._firsts, self._whole = [], [], True
            for at, total in zip(self._ats, self._totals, strict=True):
                self._extend(at, total)
        return self._chain

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
            elif span.last_at > since and span.first_at <= now:
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
        """Return the first entry after the last pause of over 5 h: what is older moves no present border."""
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
        del self._ats[:gone], self._totals[:gone], self._chain[:kept], self._firsts[:kept]
