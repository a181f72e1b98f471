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
from collections.abc import Mapping
from typing import NamedTuple

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.settled import RECYCLED_S, Filed, Settled, key_of, number_of, packed, request_of
from claude_gauge.counting.turn import NOTHING, Turn

_SAME_RESPONSE_S = 30.0  # lines without any prompt figures and request id this close are one response


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
        self.message = number_of(turn.message_id) if turn.message_id else None
        self.times: tuple[float, ...] = (turn.at,)  # of its lines, each once
        self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        self.first_at = self.ended = self.filed_at = turn.at
        self.sidechain, self.request = turn.sidechain, request_of(turn)
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

    def lines(self) -> list[Turn]:
        """Return lines without ids that say all that its own did, but for their times."""
        line = Turn(
            self.ended, None, None, None, "", self.sidechain, self.input, self.output, self.cache_read,
            self.cache_creation, self.thinking or None, advisor=self.advisor,
        )  # fmt: skip
        return [line._replace(thought=thought, spoken=spoken) for thought, spoken in self.sizes or ((0, 0),)]

    def _estimated(self) -> bool:
        """Return whether the count of thinking is unknown: it is 0 beside a thinking block."""
        return not self.thinking and any(thought for thought, _ in self.sizes)

    def fits(self, turn: Turn) -> bool:
        """Return whether a line with this response's ids is of this response, or a gateway gives all the same ids."""
        prompt, own = _prompt(turn), self.prompt
        apart = max(self.first_at - turn.at, turn.at - self.ended)
        if turn.request_id:
            return apart <= RECYCLED_S or prompt == own
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


class Ledger:
    """All responses that are recent enough to matter, over all files.

    The key is message id + request id. Where the request id is missing, a gateway may give every message one id:
    then lines belong together only if they share the prompt's figures or the very time. Lines without a message id
    are identified by the request's id, else by their own.
    """

    def __init__(self) -> None:
        # Keyed by hash: 64 bits distinguish a few hundred thousand responses, at a fifth of the strings' memory.
        self._recent: dict[int, _Response] = {}
        self._lines: dict[int, int] = {}  # message id and time of a line -> a key of its response
        self._settled = Settled()

    def __len__(self) -> int:
        return len(self._recent) + len(self._settled)

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
            raised = self._settled.raised(_settled_keys(turn, key, first), turn, by_ids=first)
            if raised is not None:
                return _added(turn, raised)
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

    def withdraw(self, line_id: str) -> tuple[Counted, list[Turn]] | None:
        """Forget a recent response that is known by a line's id alone.

        Returns what it amounts to, and lines that say what its own did; None for one that is not recent.
        """
        response = self._recent.pop(number_of(line_id), None)
        return None if response is None else (response.counted(), response.lines())

    def settle(self, before: float) -> None:
        """Keep of responses older than `before` (epoch seconds) only that they were counted."""
        self._settled.reach(before)
        for key in [key for key, response in self._recent.items() if response.ended < before]:
            response = self._recent.pop(key)
            for at in response.times:
                self._lines.pop(hash((response.message, at)), None)
            if key != response.keys[0]:
                continue
            self._keep(key, response)

    def _keep(self, key: int, response: _Response) -> None:
        number, message = packed(response.total, response.request, response.sidechain), response.message
        name = message if message is not None and response.request else response.first_key
        self._settled.put(key, name, number, response.ended)
        if message is not None and not response.request and any(response.prompt):
            by_prompt = _prompt_key(response.first_key, response.prompt)
            self._settled.put(by_prompt, by_prompt, number, response.ended)

    def file(self, filed: Mapping[int, Filed]) -> tuple[array[float], array[int]]:
        """Settle responses at once; return at which times which totals are to be added to the blocks."""
        return self._settled.file(filed, self._recent)

    def pack(self) -> None:
        """Take less memory; for when no history is being read."""
        self._settled.pack()

    def forget(self, before: float) -> None:
        """Drop what is older than `before`; the caller takes no more turns from then."""
        self._settled.forget(before)


def _added(turn: Turn, more: int) -> tuple[Change, ...]:
    if not more:
        return ()
    return (Change(None, Counted(turn.at, Tokens(), estimated=False, filed_at=turn.at, total=more)),)


def _sizes(turn: Turn) -> tuple[tuple[int, int], ...]:
    return ((turn.thought, turn.spoken),) if turn.thought or turn.spoken else ()


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
        return key_of(number_of(turn.message_id or ""), number_of(turn.request_id or ""))
    if turn.line_id:
        return number_of(turn.line_id)
    return hash((turn.at, number_of(turn.model), turn.output, _prompt(turn)))
