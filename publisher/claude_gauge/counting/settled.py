"""Settled responses: of each only its total is kept, and which response it was.

A week holds hundreds of thousands, so each is two numbers of 64 bits in the arrays of its day: a name, and its total
with some bits of its request's id (`packed`). The name is the message id's number, or, where another response of that
day has it already (a gateway may give all the same id), the number of both ids together (the key). One without a
request id is there a second time, under a key of its prompt.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple, TypeVar

from claude_gauge.counting.turn import Turn

_Key = TypeVar("_Key", int, float)

RECYCLED_S = 15 * 60.0  # an id seen again after this, with another prompt, is a gateway's constant
_DAY_S = 86400.0
_MOST_TOTAL = (1 << 46) - 1  # so that all fits into 64 bits
_FRESH = 1 << 16  # numbers that a table keeps unpacked
_IDLE = 8  # passes of history after which a day is packed
_REQUEST_BITS = 16  # of a request id's number
_REQUEST_MASK = (1 << _REQUEST_BITS) - 1
_SHIFT = _REQUEST_BITS + 1


def number_of(text: str) -> int:
    """Return 61 bits that stand for an id, the same in every process: children number responses, too."""
    return hash(int.from_bytes(text.encode("utf-8", "surrogatepass"), "big"))


def key_of(message: int, request: int) -> int:
    """Return what stands for a response, from the numbers of its two ids."""
    return hash((message, request))


def bits_of(request: int) -> int:
    """Return 16 bits of a request id's number, never 0; neighbours differ."""
    return request % _REQUEST_MASK + 1


def request_of(turn: Turn) -> int:
    """Return some bits of the request id's number, 0 where there is none."""
    return bits_of(number_of(turn.request_id)) if turn.request_id else 0


class Filed(NamedTuple):
    """Settled responses of one day, in columns: name, key, `packed`, and where each is filed in the blocks."""

    names: array[int]
    keys: array[int]
    packed: array[int]
    ats: array[float]


def file_apart(
    turns: Sequence[tuple[Turn, Sequence[float]]], before: float
) -> tuple[dict[int, Filed], list[tuple[Turn, Sequence[float]]]]:
    """Set apart what can be settled at once: each response whose lines all are alike and ended before a time.

    `turns` are turns, each with the times of the lines that only repeat it. A response that occurs twice, has no ids
    or lies next to midnight is in the rest.
    """
    names = [number_of(turn.message_id) if turn.message_id else 0 for turn, _ in turns]
    often, days, rest = Counter(names), dict[int, Filed](), []
    for name, each in zip(names, turns, strict=True):
        turn, times = each
        at, message_id, request_id = turn[:3]
        first, ended = (min(at, *times), max(at, *times)) if times else (at, at)
        in_day = RECYCLED_S < ended % _DAY_S < _DAY_S - RECYCLED_S
        if ended >= before or often[name] > 1 or not (in_day and message_id and request_id and first > 0):
            rest.append(each)
            continue
        number = int(ended // _DAY_S)
        day = days.get(number)
        if day is None:
            day = days[number] = Filed(array("q"), array("q"), array("q"), array("d"))
        request = number_of(request_id)
        day.names.append(name)
        day.keys.append(key_of(name, request))
        day.packed.append(packed(turn.total, bits_of(request), turn.sidechain))
        day.ats.append(first)
    return days, rest


def packed(total: int, request: int, sidechain: bool) -> int:  # noqa: FBT001 - a bit of it
    """Pack what is kept of a settled response into one number: an object each would be ten times as large."""
    return min(total, _MOST_TOTAL) << _SHIFT | request << 1 | sidechain


def _unpacked(number: int) -> tuple[int, int, bool]:
    return number >> _SHIFT, number >> 1 & _REQUEST_MASK, bool(number & 1)


class Settled:
    """The settled responses of all days."""

    def __init__(self) -> None:
        self._days: dict[int, _Table] = {}
        self._to = -math.inf  # when the last of them can have ended

    def __len__(self) -> int:
        return sum(map(len, self._days.values()))

    def reach(self, before: float) -> None:
        """Note that all that ended before a time (epoch seconds) is settled."""
        self._to = max(self._to, before)

    def put(self, key: int, name: int, number: int, ended: float) -> None:
        """Settle a response, under its name where that is free."""
        day = self._day(int(ended // _DAY_S))
        day.put(key if name != key and day.get(name) is not None else name, number)

    def raised(self, keys: Sequence[int], turn: Turn, *, by_ids: int) -> int | None:
        """Return by how many tokens a line raises its response where that is settled, None where none is.

        It is looked for under these keys; `by_ids` is the key of both ids alone. Later, or on another day, a key is
        recycled.
        """
        if turn.at > self._to + RECYCLED_S:
            return None
        name, request = number_of(turn.message_id) if turn.message_id else 0, request_of(turn)
        new = packed(turn.total, request, turn.sidechain)
        for key in keys:
            for day in self._near(turn.at):
                old = day.get(name) if turn.message_id else None
                if old is not None:
                    _, its_request, sidechain = _unpacked(old)
                    if its_request == request or sidechain or turn.sidechain:
                        return _raise(day, name, old, new)
                elif turn.message_id and turn.request_id and key == by_ids:
                    continue  # under its key only where the message's place was taken
                old = day.get(key)
                if old is not None:
                    return _raise(day, key, old, new)
        return None

    def file(self, filed: Mapping[int, Filed], recent: Mapping[int, object]) -> tuple[array[float], array[int]]:
        """Settle responses at once, but for those whose keys are recent; return when to add which totals."""
        ats, totals = array("d"), array("q")
        for number, (names, keys, numbers, times) in filed.items():
            day = self._day(number)
            self.reach(max(times) + RECYCLED_S)
            if day.misses(names) and recent.keys().isdisjoint(keys):
                day.update(names, numbers)
                ats.extend(times)
                totals.extend([each >> _SHIFT for each in numbers])
                continue
            for name, key, each, at in zip(names, keys, numbers, times, strict=True):
                added = 0 if key in recent else _merge(day, name, key, each)
                if added:
                    ats.append(at)
                    totals.append(added)
        self._rest_days(filed)
        return ats, totals

    def pack(self) -> None:
        """Take less memory; for when no history is being read."""
        for day in self._days.values():
            day.pack()

    def forget(self, before: float) -> None:
        """Drop the days that ended before a time (epoch seconds)."""
        for number in [number for number in self._days if (number + 1) * _DAY_S < before]:
            del self._days[number]

    def _day(self, number: int) -> _Table:
        day = self._days.get(number)
        if day is None:
            day = self._days[number] = _Table()
        return day

    def _near(self, at: float) -> list[_Table]:
        """Return what was settled on the day of a time, and next to midnight on the other day, too."""
        numbers = [int(at // _DAY_S)]
        into = at % _DAY_S
        if into < RECYCLED_S:
            numbers.append(numbers[0] - 1)
        elif into > _DAY_S - RECYCLED_S:
            numbers.append(numbers[0] + 1)
        return [self._days[number] for number in numbers if number in self._days]

    def _rest_days(self, busy: Container[int]) -> None:
        """Pack the days without new responses for a while: history comes about a day at a time."""
        for number, day in self._days.items():
            day.idle = 0 if number in busy else day.idle + 1
            if day.idle == _IDLE:
                day.pack()


class _Table:
    """Whole numbers by whole numbers, 16 bytes each once they are packed: a dict takes ten times as much."""

    __slots__ = ("_fresh", "_keys", "_values", "idle")

    def __init__(self) -> None:
        self.idle = 0
        self._keys, self._values = array("q"), array("q")  # in order of the keys
        self._fresh: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._fresh)

    def get(self, key: int) -> int | None:
        value = self._fresh.get(key)
        if value is not None:
            return value
        index = bisect_left(self._keys, key)
        return self._values[index] if index < len(self._keys) and self._keys[index] == key else None

    def put(self, key: int, value: int) -> None:
        index = bisect_left(self._keys, key)
        if index < len(self._keys) and self._keys[index] == key:
            self._values[index] = value
            return
        self._fresh[key] = value
        if len(self._fresh) > _FRESH:
            self.pack()

    def misses(self, keys: array[int]) -> bool:
        """Return whether none of these is there."""
        if not self._fresh.keys().isdisjoint(keys):
            return False
        return not self._keys or all(self.get(key) is None for key in keys)

    def update(self, keys: array[int], values: array[int]) -> None:
        """Put in what was not there."""
        self._fresh.update(zip(keys, values, strict=True))
        if len(self._fresh) > _FRESH:
            self.pack()

    def pack(self) -> None:
        if self._fresh:
            keys, values = self._keys + array("q", self._fresh), self._values + array("q", self._fresh.values())
            self._fresh = {}
            self._keys, self._values = in_order(keys, values)


def _raise(day: _Table, key: int, old: int, new: int) -> int:
    """Raise a settled response to larger figures; return by how many tokens."""
    (before, request, sidechain), (total, new_request, aside) = _unpacked(old), _unpacked(new)
    main_now = sidechain and not aside
    if not main_now and (total <= before or aside > sidechain):
        return 0
    day.put(key, packed(total, new_request if main_now else request, aside))
    return total - before


def _merge(day: _Table, name: int, key: int, new: int) -> int:
    """Settle a response, or raise it where it is settled already; return the tokens that it adds."""
    old = day.get(name)
    if old is not None:
        (_, request, sidechain), (_, new_request, aside) = _unpacked(old), _unpacked(new)
        if request == new_request or sidechain or aside:
            return _raise(day, name, old, new)
        name, old = key, day.get(key)
        if old is not None:
            return _raise(day, key, old, new)
    day.put(name, new)
    return new >> _SHIFT


def in_order(keys: array[_Key], values: array[int]) -> tuple[array[_Key], array[int]]:
    """Sort two columns by the first: less memory in between than sorting pairs takes."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return array(keys.typecode, map(keys.__getitem__, order)), array("q", map(values.__getitem__, order))
