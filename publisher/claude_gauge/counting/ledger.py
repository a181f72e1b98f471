"""Counts each response once, however many lines, files and forks repeat it.

Claude Code writes a line per content block, all of them after the response ended, each with the time of its own
block. Forks and resumed sessions copy lines; a sidechain may replay a message of the main chain under another request
id; older versions wrote early lines with little output yet. Lines arrive in any order, and any number of times.

    unknown --first line--> recent --6 hours old (`settle`)--> settled --`forget`--> unknown
                            has every figure                   has its total alone: a larger line raises it

What a response amounts to follows from the set of its lines, not from their order:

- each figure is the largest in any line; if any line is of the main chain, sidechain lines count for nothing;
- it ended at the time of its latest line: that places it in the last minute and the last five;
- it is filed in the blocks at the first line with the largest total, as ccusage does.

Two responses with one message id become one when a line of each has the same time and one of them is a sidechain.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import NOTHING, Turn

_SAME_RESPONSE_S = 30.0  # lines without any prompt figures and request id this close are one response
_DAY_S = 86400.0
_RECYCLED_S = 15 * 60.0  # an id seen again after this, with another prompt, is a gateway's constant
_MOST_TOTAL = (1 << 46) - 1  # so that all fits into 64 bits
_FRESH = 1 << 16  # numbers that a table keeps unpacked
_IDLE = 8  # passes of history after which a day is packed
_REQUEST_BITS = 16  # of a request id's hash, kept with a settled response's total
_REQUEST_MASK = (1 << _REQUEST_BITS) - 1


class Counted(NamedTuple):
    """One response as the sums hold it; times in epoch seconds.

    `ended` places its tokens in the last minutes, `filed_at` its total in the blocks. `estimated`: its thinking
    share is a guess.
    """

    ended: float
    tokens: Tokens
    estimated: bool
    filed_at: float
    total: int


class Change(NamedTuple):
    """One response before and after a line; None where it was not counted before, or is not any more."""

    before: Counted | None
    after: Counted | None


class _Response:
    """One response with all of its figures, while it is recent."""

    __slots__ = (
        "advisor", "best", "cache_creation", "cache_read", "ended", "filed_at", "first_at", "first_key", "input",
        "keys", "message", "output", "request", "sidechain", "sizes", "thinking", "times",
    )  # fmt: skip

    def __init__(self, key: int, first_key: int, turn: Turn) -> None:
        self.keys: tuple[int, ...] = (key,)  # more than one where replays were found
        self.first_key = first_key  # by its ids alone
        self.message = _number(turn.message_id) if turn.message_id else None
        self.times: tuple[float, ...] = (turn.at,)  # of its lines, each once
        self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        self.first_at = self.ended = self.filed_at = turn.at
        self.sidechain, self.request = turn.sidechain, _request(turn)
        self.best = turn.total  # the largest total of a line
        self.input, self.output = turn.input, turn.output
        self.cache_read, self.cache_creation = turn.cache_read, turn.cache_creation
        self.thinking, self.advisor = turn.thinking or 0, turn.advisor
        # (thought, spoken) of each line, only where it must be guessed
        self.sizes: tuple[tuple[int, int], ...] = () if self.thinking else _sizes(turn)

    @property
    def total(self) -> int:
        """All its tokens."""
        flat = self.input + self.output + self.cache_read + self.cache_creation
        return flat if self.advisor is NOTHING else flat + round(self.advisor.total)

    @property
    def prompt(self) -> tuple[int, int, int]:
        """The figures that no line of another response has."""
        return self.input, self.cache_read, self.cache_creation

    def counted(self, since: float = -math.inf) -> Counted:
        """Return what it amounts to now; without the kinds of tokens where it ended before a time."""
        if self.ended < since:
            return Counted(self.ended, NOTHING, False, self.filed_at, self.total)  # noqa: FBT003 - as its fields stand
        estimated = bool(self.sizes) and self._estimated()
        if estimated:
            thought, spoken = map(sum, zip(*self.sizes, strict=True))
            thinking = round(self.output * thought / (thought + spoken))
        else:
            thinking = min(self.output, self.thinking)
        tokens = Tokens(self.input, self.output, self.cache_read, self.cache_creation, thinking)
        if self.advisor is not NOTHING:
            tokens += self.advisor
        return Counted(self.ended, tokens, estimated, self.filed_at, self.total)

    def _estimated(self) -> bool:
        """Return whether the count of thinking is unknown: it is 0 beside a thinking block."""
        return not self.thinking and any(thought for thought, _ in self.sizes)

    def fits(self, turn: Turn) -> bool:
        """Return whether a line with this response's ids is of this response, or a gateway gives all the same ids."""
        prompt, own = _prompt(turn), self.prompt
        apart = max(self.first_at - turn.at, turn.at - self.ended)
        if turn.request_id:
            return apart <= _RECYCLED_S or prompt == own
        if not turn.message_id or turn.at in self.times:
            return True
        if not any(prompt) or not any(own):
            return apart <= _SAME_RESPONSE_S
        return prompt == own

    def repeats(self, turn: Turn) -> bool:
        """Return whether a line adds nothing but its time: two of three do, of hundreds of thousands in a history."""
        if turn.sidechain != self.sidechain:
            return turn.sidechain
        total = turn.total
        return (
            (total < self.best or (total == self.best and turn.at >= self.filed_at))
            and turn.output <= self.output
            and turn.input <= self.input
            and turn.cache_read <= self.cache_read
            and turn.cache_creation <= self.cache_creation
            and (turn.thinking or 0) <= self.thinking
            and (turn.advisor is NOTHING or _most(turn.advisor, self.advisor) == self.advisor)
            and bool(self.thinking or not (turn.thought or turn.spoken) or (turn.thought, turn.spoken) in self.sizes)
        )

    def move(self, turn: Turn) -> None:
        """Take from a line that repeats its time alone."""
        self._date(turn)
        if turn.sidechain == self.sidechain:
            self.first_at, self.ended = min(self.first_at, turn.at), max(self.ended, turn.at)

    def _date(self, turn: Turn) -> None:
        if turn.at not in self.times:
            self.times += (turn.at,)

    def take(self, turn: Turn) -> None:
        """Add a line's figures."""
        self._date(turn)
        if turn.sidechain and not self.sidechain:
            return
        if self.sidechain and not turn.sidechain:
            self._begin(turn)
            return
        self._raise(turn)
        self._place(turn.at, turn.at, turn.at, turn.total)
        self.sizes = () if self.thinking else tuple(dict.fromkeys(self.sizes + _sizes(turn)))

    def absorb(self, other: _Response) -> None:
        """Merge with another response: the main chain's figures, else the larger ones."""
        self.times += tuple(at for at in other.times if at not in self.times)
        self.keys += other.keys
        if other.sidechain and not self.sidechain:
            return
        if self.sidechain and not other.sidechain:
            for name in self.__slots__:
                if name not in {"times", "keys"}:
                    setattr(self, name, getattr(other, name))
            return
        self._raise(other)
        self._place(other.first_at, other.ended, other.filed_at, other.best)
        self.sizes = () if self.thinking else tuple(dict.fromkeys(self.sizes + other.sizes))

    def _raise(self, by: Turn | _Response) -> None:
        self.input = max(self.input, by.input)
        self.output = max(self.output, by.output)
        self.cache_read = max(self.cache_read, by.cache_read)
        self.cache_creation = max(self.cache_creation, by.cache_creation)
        self.thinking = max(self.thinking, by.thinking or 0)
        if by.advisor is not NOTHING:
            self.advisor = _most(self.advisor, by.advisor)

    def _place(self, first_at: float, ended: float, filed_at: float, best: int) -> None:
        self.first_at, self.ended = min(self.first_at, first_at), max(self.ended, ended)
        if (best, -filed_at) > (self.best, -self.filed_at):
            self.best, self.filed_at = best, filed_at


class Filed(NamedTuple):
    """Settled responses of one day, in columns: message id, key, `_packed`, and where each is filed in the blocks."""

    names: array[int]
    keys: array[int]
    packed: array[int]
    ats: array[float]


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
            pairs = sorted([*zip(self._keys, self._values, strict=True), *self._fresh.items()])
            self._keys = array("q", [key for key, _ in pairs])
            self._values = array("q", [value for _, value in pairs])
            self._fresh = {}


class Ledger:
    """All responses that are recent enough to matter, over all files.

    The key is message id + request id. Where the request id is missing, a gateway may give every message one id:
    then lines belong together only if they share the prompt's figures or the very time. Lines without a message id
    are identified by the request's id, else by their own.
    """

    def __init__(self) -> None:
        # Keyed by hash: 64 bits tell a few hundred thousand responses apart, at a fifth of the strings' memory.
        self._recent: dict[int, _Response] = {}
        self._lines: dict[int, int] = {}  # message id and time of a line -> a key of its response
        self._settled: dict[int, _Table] = {}  # day -> message id, or key -> `_packed`
        self._settled_to = -math.inf  # when the last of them can have ended

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._settled.values()))

    @property
    def unsettled(self) -> int:
        """How many responses still have all of their figures."""
        return len(self._recent)

    def add(self, turn: Turn, shown_since: float = -math.inf) -> tuple[Change, ...]:
        """Count a line; return what it changed: nothing for a repeat.

        Of a response that ended before `shown_since` (epoch seconds) only the total is reported: neither a change of
        its end alone, nor the kinds of its tokens.
        """
        first = _key(turn)
        key, response = self._recent_with(first, turn)
        if response is None:
            for each in _settled_keys(turn, key, first):
                settled = self._settled_with(each, turn)
                if settled is not None:
                    return _raise_settled(*settled, turn)
            response, before = _Response(key, first, turn), None
            self._recent[key] = response
        elif response.repeats(turn):
            return self._moved(response, turn, shown_since)
        else:
            before = response.counted(shown_since)
            response.take(turn)
        twin = self._twin(response, turn.at)
        if twin is not None:
            return self._united(before, response, twin)
        after = response.counted(shown_since)
        return (Change(before, after),) if after != before else ()

    def _recent_with(self, first: int, turn: Turn) -> tuple[int, _Response | None]:
        """Find a line's response, and its key; None, and the key that it gets, for a new one.

        Where a gateway gives all the same ids, one has the key of the ids alone, the others one with the prompt.
        """
        response = self._recent.get(first)
        if response is not None and response.fits(turn):
            return first, response
        has_prompt = any(_prompt(turn))
        key = _prompt_key(first, _prompt(turn)) if has_prompt else hash((first, turn.at // _SAME_RESPONSE_S))
        other = self._recent.get(key)
        return (first, None) if response is None and other is None else (key, other)

    def _moved(self, response: _Response, turn: Turn, since: float) -> tuple[Change, ...]:
        if turn.at in response.times:
            return ()
        ended = response.ended
        response.move(turn)
        twin = self._twin(response, turn.at)
        if twin is None and (response.ended == ended or response.ended < since):
            return ()
        after = response.counted()
        before = after._replace(ended=ended)
        return self._united(before, response, twin) if twin is not None else (Change(before, after),)

    def _united(self, before: Counted | None, response: _Response, twin: _Response) -> tuple[Change, ...]:
        """Make a response and its twin one; the sums held them as `before` and as the twin counts."""
        held = twin.counted()
        response.absorb(twin)
        for key in twin.keys:
            self._recent[key] = response
        after = response.counted()
        gone = (Change(before, None),) if before is not None else ()
        return (*gone, Change(held, after)) if after != held else gone

    def _twin(self, response: _Response, at: float) -> _Response | None:
        """Find another response of this message with a line of this time, if one of the two is a sidechain's."""
        if response.message is None:
            return None
        other = self._recent.get(self._lines.setdefault(hash((response.message, at)), response.keys[0]))
        if other is None or other is response or not (response.sidechain or other.sidechain):
            return None
        return other

    def _settled_with(self, key: int, turn: Turn) -> tuple[_Table, int, int] | None:
        """Find where, and as what, a line's response was settled; later, or on another day, its key is recycled."""
        if turn.at > self._settled_to + _RECYCLED_S:
            return None
        message = _number(turn.message_id) if turn.message_id else 0
        for day in self._days(turn.at):
            packed = day.get(message) if turn.message_id else None
            if packed is not None:
                _, request, sidechain = _unpacked(packed)
                if request == _request(turn) or sidechain or turn.sidechain:
                    return day, message, packed
            elif turn.message_id and turn.request_id and key == _key(turn):
                continue  # under its key only where the message's place was taken
            packed = day.get(key)
            if packed is not None:
                return day, key, packed
        return None

    def _days(self, at: float) -> list[_Table]:
        """Return what was settled on the day of a time, and next to midnight on the other day, too."""
        numbers = [int(at // _DAY_S)]
        into = at % _DAY_S
        if into < _RECYCLED_S:
            numbers.append(numbers[0] - 1)
        elif into > _DAY_S - _RECYCLED_S:
            numbers.append(numbers[0] + 1)
        return [self._settled[number] for number in numbers if number in self._settled]

    def file(self, filed: Mapping[int, Filed]) -> tuple[list[float], list[int]]:
        """Settle responses at once; return at which times which totals are to be added to the blocks."""
        times, totals = list[float](), list[int]()
        for number, (names, keys, packed, ats) in filed.items():
            day = self._day(number)
            self._settled_to = max(self._settled_to, max(ats) + _RECYCLED_S)
            if day.misses(names) and self._recent.keys().isdisjoint(keys):
                day.update(names, packed)
                times += ats
                totals += [each >> _REQUEST_BITS + 1 for each in packed]
                continue
            for name, key, each, at in zip(names, keys, packed, ats, strict=True):
                added = 0 if key in self._recent else _merge(day, name, key, each)
                if added:
                    times.append(at)
                    totals.append(added)
        self._rest_days(filed)
        return times, totals

    def _day(self, number: int) -> _Table:
        day = self._settled.get(number)
        if day is None:
            day = self._settled[number] = _Table()
        return day

    def _rest_days(self, busy: Container[int]) -> None:
        """Pack the days without new responses for a while: history comes about a day at a time."""
        for number, day in self._settled.items():
            day.idle = 0 if number in busy else day.idle + 1
            if day.idle == _IDLE:
                day.pack()

    def settle(self, before: float) -> None:
        """Keep of responses older than `before` (epoch seconds) only that they were counted."""
        self._settled_to = max(self._settled_to, before)
        for key in [key for key, response in self._recent.items() if response.ended < before]:
            response = self._recent.pop(key)
            for at in response.times:
                self._lines.pop(hash((response.message, at)), None)
            if key != response.keys[0]:
                continue
            self._keep(key, response)

    def _keep(self, key: int, response: _Response) -> None:
        day = self._day(int(response.ended // _DAY_S))
        packed = _packed(response.total, response.request, response.sidechain)
        name = response.message if response.message is not None and response.request else response.first_key
        day.put(key if name != key and day.get(name) is not None else name, packed)
        if response.message is not None and not response.request and any(response.prompt):
            day.put(_prompt_key(response.first_key, response.prompt), packed)

    def pack(self) -> None:
        """Take less memory; for when no history is being read."""
        for day in self._settled.values():
            day.pack()

    def forget(self, before: float) -> None:
        """Drop what is older than `before`; the caller takes no more turns from then."""
        for day in [day for day in self._settled if (day + 1) * _DAY_S < before]:
            del self._settled[day]


def _raise_settled(day: _Table, key: int, packed: int, turn: Turn) -> tuple[Change, ...]:
    more = _raised(day, key, packed, _packed(turn.total, _request(turn), turn.sidechain))
    if not more:
        return ()
    return (Change(None, Counted(turn.at, Tokens(), estimated=False, filed_at=turn.at, total=more)),)


def _raised(day: _Table, key: int, old: int, new: int) -> int:
    """Raise a settled response to larger figures; return by how many tokens."""
    (before, request, sidechain), (total, new_request, aside) = _unpacked(old), _unpacked(new)
    main_now = sidechain and not aside
    if not main_now and (total <= before or aside > sidechain):
        return 0
    day.put(key, _packed(total, new_request if main_now else request, aside))
    return total - before


def _merge(day: _Table, name: int, key: int, new: int) -> int:
    """Settle a response, or raise it where it is settled already; return the tokens that it adds."""
    old = day.get(name)
    if old is not None:
        (_, request, sidechain), (_, new_request, aside) = _unpacked(old), _unpacked(new)
        if request == new_request or sidechain or aside:
            return _raised(day, name, old, new)
        name, old = key, day.get(key)
        if old is not None:
            return _raised(day, key, old, new)
    day.put(name, new)
    return new >> _REQUEST_BITS + 1


def file_apart(
    found: Sequence[tuple[Turn, Sequence[float]]], before: float
) -> tuple[dict[int, Filed], list[tuple[Turn, Sequence[float]]]]:
    """Set apart what can be settled at once: each response whose lines all are alike and ended before a time.

    `found` are turns, each with the times of the lines that only repeat it. A response that occurs twice, has no ids
    or lies next to midnight is in the rest.
    """
    names = [_number(turn.message_id) if turn.message_id else 0 for turn, _ in found]
    often, days, rest = Counter(names), dict[int, Filed](), []
    for name, each in zip(names, found, strict=True):
        turn, times = each
        first = ended = turn.at
        if times:
            first, ended = min(first, *times), max(ended, *times)
        one_day = _RECYCLED_S < ended % _DAY_S < _DAY_S - _RECYCLED_S
        if ended >= before or often[name] > 1 or not (one_day and turn.request_id and turn.message_id and first > 0):
            rest.append(each)
            continue
        number = int(ended // _DAY_S)
        day = days.get(number)
        if day is None:
            day = days[number] = Filed(array("q"), array("q"), array("q"), array("d"))
        request = _number(turn.request_id)
        day.names.append(name)
        day.keys.append(hash((name, request)))
        day.packed.append(_packed(turn.total, _bits(request), turn.sidechain))
        day.ats.append(first)
    return days, rest


def _packed(total: int, request: int, sidechain: bool) -> int:  # noqa: FBT001 - a bit of it
    """Pack what is kept of a settled response into one number: an object each would be ten times as large."""
    return min(total, _MOST_TOTAL) << _REQUEST_BITS + 1 | request << 1 | sidechain


def _unpacked(packed: int) -> tuple[int, int, bool]:
    request = packed >> 1 & _REQUEST_MASK
    return packed >> _REQUEST_BITS + 1, request, bool(packed & 1)


def _sizes(turn: Turn) -> tuple[tuple[int, int], ...]:
    return ((turn.thought, turn.spoken),) if turn.thought or turn.spoken else ()


def _request(turn: Turn) -> int:
    """Return some bits of the request id's hash, 0 where there is none."""
    return _bits(_number(turn.request_id)) if turn.request_id else 0


def _bits(number: int) -> int:
    """Return 16 bits of a number, never 0; neighbours differ."""
    return number % _REQUEST_MASK + 1


def _prompt(turn: Turn) -> tuple[int, int, int]:
    return turn.input, turn.cache_read, turn.cache_creation


def _most(one: Tokens, other: Tokens) -> Tokens:
    return Tokens(
        max(one.input, other.input),
        max(one.output, other.output),
        max(one.cache_read, other.cache_read),
        max(one.cache_creation, other.cache_creation),
    )


def _prompt_key(first: int, prompt: tuple[int, int, int]) -> int:
    return hash((first, prompt))


def _settled_keys(turn: Turn, key: int, first: int) -> tuple[int, ...]:
    """Return under which keys a line's response may be settled: by the prompt where it has a message id alone."""
    if turn.message_id and not turn.request_id and any(_prompt(turn)):
        return (_prompt_key(first, _prompt(turn)),)
    return (key, first) if key != first else (key,)


def _key(turn: Turn) -> int:
    if turn.message_id or turn.request_id:
        return hash((_number(turn.message_id or ""), _number(turn.request_id or "")))
    if turn.line_id:
        return _number(turn.line_id)
    return hash((turn.at, _number(turn.model), turn.output, _prompt(turn)))


def _number(text: str) -> int:
    """Return 61 bits that stand for an id, the same in every process: children number responses, too."""
    return hash(int.from_bytes(text.encode("utf-8", "surrogatepass"), "big"))
