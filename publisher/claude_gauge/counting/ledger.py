"""Counts each response once, however many lines, files and forks repeat it."""

from __future__ import annotations

from typing import NamedTuple

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Turn

_SAME_RESPONSE_S = 30.0  # lines without any prompt figures and request id this close are one response
_DAY_S = 86400.0
_RECYCLED_S = 15 * 60.0  # an id seen again after this, with another prompt, is a gateway's constant


class Change(NamedTuple):
    """What one line changed: `added` tokens at the line's own time, and the response's total before and after.

    `before_at` is None for a response that was not known. `estimated` tells that its thinking share is a guess.
    """

    at: float
    added: Tokens
    before_at: float | None
    before_total: int
    after_at: float
    after_total: int
    estimated: bool


class _Response:
    """What is known of one response."""

    __slots__ = (
        "at", "cache_creation", "cache_read", "first_at", "input", "output", "sidechain", "sizes", "thinking",
    )  # fmt: skip

    def __init__(self, turn: Turn) -> None:
        self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        self.at = self.first_at = turn.at
        self.sidechain = turn.sidechain
        self.input = self.output = self.cache_read = self.cache_creation = self.thinking = 0
        self.sizes: tuple[tuple[int, int], ...] = ()  # (thought, spoken) of each line, only where it must be guessed

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_creation

    def tokens(self) -> Tokens:
        if self.estimated:
            thought, spoken = map(sum, zip(*self.sizes, strict=True))
            thinking = round(self.output * thought / (thought + spoken))
        else:
            thinking = min(self.output, self.thinking)
        return Tokens(self.input, self.output, self.cache_read, self.cache_creation, thinking)

    @property
    def estimated(self) -> bool:
        """A zero beside a thinking block means that the count is unknown."""
        return not self.thinking and bool(self.sizes) and any(thought for thought, _ in self.sizes)

    def fits(self, turn: Turn) -> bool:
        """Tell whether a line with this response's ids is of this response, or a gateway gives all the same ids."""
        prompt, known = _prompt(turn), (self.input, self.cache_read, self.cache_creation)
        apart = abs(turn.at - self.first_at)
        if turn.message_id and turn.request_id:
            return apart <= _RECYCLED_S or prompt == known
        if turn.request_id or not turn.message_id or apart == 0:
            return True
        if not any(prompt) or not any(known):
            return abs(turn.at - self.at) <= _SAME_RESPONSE_S
        return prompt == known

    def knows(self, turn: Turn) -> bool:
        """Tell whether a line only repeats: two of three do, and a history holds hundreds of thousands."""
        return (
            turn.output <= self.output
            and turn.input <= self.input
            and turn.cache_read <= self.cache_read
            and turn.cache_creation <= self.cache_creation
            and (turn.thinking or 0) <= self.thinking
            and turn.sidechain >= self.sidechain
            and bool(self.thinking or not (turn.thought or turn.spoken) or (turn.thought, turn.spoken) in self.sizes)
        )

    def take(self, turn: Turn) -> None:
        """Raise each figure to the largest seen; a line of the main chain outweighs all of a sidechain."""
        if turn.sidechain and not self.sidechain:
            return
        if self.sidechain and not turn.sidechain:
            self._begin(turn)
        before = self.total
        self.input = max(self.input, turn.input)
        self.output = max(self.output, turn.output)
        self.cache_read = max(self.cache_read, turn.cache_read)
        self.cache_creation = max(self.cache_creation, turn.cache_creation)
        self.thinking = max(self.thinking, turn.thinking or 0)
        size = (turn.thought, turn.spoken)
        if not self.thinking and any(size) and size not in self.sizes:  # a repeated line adds nothing
            self.sizes += (size,)
        if self.total > before:
            self.at = turn.at


class Ledger:
    """All responses that are recent enough to matter, over all files.

    The key is message id + request id. Where the request id is missing, a gateway may give every message one id:
    then lines belong together only if they share the prompt's figures or the very time. Lines without a message id
    are known by the request's id, else by their own.
    """

    def __init__(self) -> None:
        # Keyed by hash: 64 bits tell a few hundred thousand responses apart, at a fifth of the strings' memory.
        self._recent: dict[int, _Response] = {}
        self._settled: dict[int, dict[int, int]] = {}  # day -> key -> total

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._settled.values()))

    @property
    def unsettled(self) -> int:
        """How many responses are still known in full."""
        return len(self._recent)

    def add(self, turn: Turn) -> Change | None:
        """Count a line; return what it changed, or None for a repeat."""
        keys = [_key(turn)]
        response = self._recent.get(keys[0])
        if response is not None and not response.fits(turn):
            keys.insert(0, hash((keys[0], _prompt(turn) if any(_prompt(turn)) else turn.at // _SAME_RESPONSE_S)))
            response = self._recent.get(keys[0])
        if response is not None:
            return _raised(response, turn)
        for key in keys:
            day = self._settled_with(key, turn.at)
            if day is not None:
                return _raise_settled(day, key, turn)
        response = self._recent[keys[0]] = _Response(turn)
        response.take(turn)
        return Change(turn.at, response.tokens(), None, 0, response.at, response.total, response.estimated)

    def _settled_with(self, key: int, at: float) -> dict[int, int] | None:
        """Find the day on which a response of this key was settled; the same key on another day is recycled."""
        for near in (at, at - _RECYCLED_S, at + _RECYCLED_S):
            day = self._settled.get(int(near // _DAY_S))
            if day is not None and key in day:
                return day
        return None

    def settle(self, before: float) -> None:
        """Keep of responses older than `before` (epoch seconds) only that they were counted."""
        for key in [key for key, response in self._recent.items() if response.at < before]:
            response = self._recent.pop(key)
            self._settled.setdefault(int(response.at // _DAY_S), {})[key] = response.total

    def forget(self, before: float) -> None:
        """Drop what is older than `before`; the caller takes no more turns from then."""
        for day in [day for day in self._settled if (day + 1) * _DAY_S < before]:
            del self._settled[day]


def _raised(response: _Response, turn: Turn) -> Change | None:
    if response.knows(turn):
        return None
    at, tokens, total = response.at, response.tokens(), response.total
    response.take(turn)
    added = response.tokens() - tokens
    if added == Tokens() and at == response.at:
        return None
    return Change(turn.at, added, at, total, response.at, response.total, response.estimated)


def _raise_settled(day: dict[int, int], key: int, turn: Turn) -> Change | None:
    before = day[key]
    total = turn.output + sum(_prompt(turn))
    if total <= before:
        return None
    day[key] = total
    return Change(turn.at, Tokens(), None, 0, turn.at, total - before, estimated=False)


def _prompt(turn: Turn) -> tuple[int, int, int]:
    return turn.input, turn.cache_read, turn.cache_creation


def _key(turn: Turn) -> int:
    if turn.message_id or turn.request_id:
        return hash((turn.message_id, turn.request_id))
    if turn.line_id:
        return hash(turn.line_id)
    return hash((turn.at, turn.model, turn.output, _prompt(turn)))
