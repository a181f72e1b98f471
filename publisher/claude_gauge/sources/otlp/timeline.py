"""What was counted in the last days, searched by time and figures, or by request id: a compact log in arrays.

A week has hundreds of thousands of events, so each is a row of numbers, 64 bytes, in the array of its hour; a search
runs through the hours of its span in C.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

_HOUR_S = 3600.0


class Entry(NamedTuple):
    """An event or line in a timeline: a key, its request's id (0: none), and its figures."""

    at: float
    key: int
    request: int
    figures: tuple[int, int, int, int]  # input, output, cache read, cache creation


_STRIDE, PROMPT, KEY, REQUEST = 7, 0, 1, 2  # of a timeline's numbers: prompt's hash, key, request, and the figures


class Timeline:
    """The rows, by the hour and unsorted."""

    def __init__(self) -> None:
        self._hours: dict[int, tuple[array[float], array[int]]] = {}

    def add(self, at: float, key: int, request: int, figures: tuple[int, int, int, int]) -> None:
        """Keep one; called for each event of a week at every start."""
        hour = int(at // _HOUR_S)
        times, numbers = self._hours.get(hour) or self._hours.setdefault(hour, (array("d"), array("q")))
        times.append(at)
        own, output, read, created = figures
        numbers.extend((hash((own, read, created)), key, request, own, output, read, created))

    def __bool__(self) -> bool:
        return bool(self._hours)

    def near(self, wanted: int, since: float, until: float, column: int = PROMPT) -> Iterator[Entry]:
        """Yield those with this prompt (or request) in a span of time."""
        for hour in range(int(since // _HOUR_S), int(until // _HOUR_S) + 1):
            if hour in self._hours:
                yield from (each for each in _search(*self._hours[hour], wanted, column) if since <= each.at <= until)

    def anywhere(self, request: int) -> Entry | None:
        """Find one by its request's id, whenever it was."""
        matches = (
            each for times, numbers in self._hours.values() for each in _search(times, numbers, request, REQUEST)
        )
        return next(matches, None)

    def forget(self, before: float) -> list[tuple[int, int]]:
        """Drop the hours that ended before a time; return the keys and the requests' ids of what was in them."""
        gone: list[tuple[int, int]] = []
        for hour in [hour for hour in self._hours if (hour + 1) * _HOUR_S < before]:
            _, numbers = self._hours.pop(hour)
            gone += zip(numbers[KEY::_STRIDE], numbers[REQUEST::_STRIDE], strict=True)
        return gone


def _search(times: array[float], numbers: array[int], wanted: int, column: int) -> Iterator[Entry]:
    index = -1
    while True:
        try:
            index = numbers.index(wanted, index + 1)
        except ValueError:
            return
        if index % _STRIDE == column:
            row = index - column
            _, key, request, *figures = numbers[row : row + _STRIDE]
            yield Entry(times[row // _STRIDE], key, request, (figures[0], figures[1], figures[2], figures[3]))
