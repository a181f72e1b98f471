"""The last hours as a strip: one entry per slice of time, kept in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """One slice of time: its number since the epoch, the highest rate in it and the last share of the window.

    The share is None where it was unknown: in a payload that only kept the last one, or before the first payload.
    """

    number: int
    rate: float
    share: float | None


class History:
    """Published figures by slice; a slice without a payload has no entry, so that a gap stays visible."""

    def __init__(self, slices: int = 300, slice_s: float = 60.0) -> None:
        self.slices = slices
        self.slice_s = slice_s
        self._kept: deque[Slice] = deque(maxlen=slices)

    def add(self, at: float, rate: float, share: float | None) -> None:
        """Take one payload's figures, published at `at`; a clock that jumped back starts the strip again."""
        number = int(at // self.slice_s)
        if self._kept and number < self._kept[-1].number:
            self._kept.clear()
        if self._kept and number == self._kept[-1].number:
            rate = max(rate, self._kept.pop().rate)
        self._kept.append(Slice(number, rate, share))

    def remember(self, rates: Mapping[int, float], now: float) -> None:
        """Fill the time before the first payload with what a source knows of it; a slice that it lacks had none."""
        present = int(now // self.slice_s)
        began = self._kept[0].number if self._kept else present
        for number in range(began - 1, present - self.slices, -1):
            self._kept.appendleft(Slice(number, rates.get(number, 0.0), None))

    def last(self, now: float) -> list[Slice | None]:
        """Return one entry per slice up to `now`, oldest first; None where nothing was published."""
        first = int(now // self.slice_s) - self.slices + 1
        strip: list[Slice | None] = [None] * self.slices
        for each in self._kept:
            if 0 <= each.number - first < self.slices:
                strip[each.number - first] = each
        return strip
