"""What was counted in the last days, searched by time and figures, or by request id: a compact log in arrays.

A week has hundreds of thousands of events, so each is a row of numbers, 56 bytes, in the array of its hour. A search
makes an index of each hour of its span, a few of which are kept: searches follow each other in time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Literal, NamedTuple

_HOUR_S = 3600.0
_MOST_INDEXES = 6  # the span of a search is in two hours at most, and there are two kinds


class Entry(NamedTuple):
    """An event or line in a timeline: a key, its request's id (0: none), and its figures."""

    at: float
    key: int
    request: int
    figures: tuple[int, int, int, int]  # input, output, cache read, cache creation


_STRIDE, _KEY, _REQUEST, _OWN, _READ, _CREATED = 6, 0, 1, 2, 4, 5  # of a timeline's numbers: output stands between
By = Literal["prompt", "request"]


class Timeline:
    """The rows, by the hour and unsorted."""

    def __init__(self) -> None:
        self._hours: dict[int, tuple[array[float], array[int]]] = {}
        self._indexes: dict[tuple[int, By], dict[int, list[int]]] = {}  # of an hour; the last searched is the last

    def add(self, at: float, key: int, request: int, figures: tuple[int, int, int, int]) -> None:
        """Keep one; called for each event of a week at every start."""
        hour = int(at // _HOUR_S)
        times, numbers = self._hours.get(hour) or self._hours.setdefault(hour, (array("d"), array("q")))
        own, output, read, created = figures
        if self._indexes:
            values: tuple[tuple[By, int], ...] = (("prompt", hash((own, read, created))), ("request", request))
            for by, value in values:
                if (hour, by) in self._indexes:
                    self._indexes[hour, by].setdefault(value, []).append(len(times))
        times.append(at)
        numbers.extend((key, request, own, output, read, created))

    def __bool__(self) -> bool:
        return bool(self._hours)

    def near(self, wanted: int, since: float, until: float, by: By = "prompt") -> Iterator[Entry]:
        """Yield those with this prompt's hash, or this request, in a span of time."""
        for hour in range(int(since // _HOUR_S), int(until // _HOUR_S) + 1):
            if hour in self._hours:
                times, numbers = self._hours[hour]
                rows = self._index(hour, by).get(wanted, ())
                yield from [_entry(times, numbers, row) for row in rows if since <= times[row] <= until]

    def _index(self, hour: int, by: By) -> dict[int, list[int]]:
        """Return the rows of an hour by what they say."""
        index = self._indexes.pop((hour, by), None)
        if index is None:
            index = {}
            numbers = self._hours[hour][1]
            prompts = map(hash, zip(*(numbers[column::_STRIDE] for column in (_OWN, _READ, _CREATED)), strict=True))
            for row, value in enumerate(prompts if by == "prompt" else numbers[_REQUEST::_STRIDE]):
                index.setdefault(value, []).append(row)
        self._indexes[hour, by] = index
        if len(self._indexes) > _MOST_INDEXES:
            del self._indexes[next(iter(self._indexes))]
        return index

    def anywhere(self, request: int) -> Entry | None:
        """Find one by its request's id, whenever it was; runs through all of them in C."""
        for times, numbers in self._hours.values():
            for row, column in _matches(numbers, request):
                if column == _REQUEST:
                    return _entry(times, numbers, row)
        return None

    def forget(self, before: float) -> list[tuple[int, int]]:
        """Drop the hours that ended before a time; return the keys and the requests' ids of what was in them."""
        gone: list[tuple[int, int]] = []
        for hour in [hour for hour in self._hours if (hour + 1) * _HOUR_S < before]:
            _, numbers = self._hours.pop(hour)
            self._indexes.clear()
            gone += zip(numbers[_KEY::_STRIDE], numbers[_REQUEST::_STRIDE], strict=True)
        return gone


def _matches(numbers: array[int], wanted: int) -> Iterator[tuple[int, int]]:
    """Yield row and column of each place of a number."""
    index = -1
    while True:
        try:
            index = numbers.index(wanted, index + 1)
        except ValueError:
            return
        yield divmod(index, _STRIDE)


def _entry(times: array[float], numbers: array[int], row: int) -> Entry:
    key, request, own, output, read, created = numbers[row * _STRIDE : (row + 1) * _STRIDE]
    return Entry(times[row], key, request, (own, output, read, created))
