"""One tally for transcripts and OTLP together: a response that both tell is counted once.

Both know the request's id. Where one of them has none (Bedrock, Vertex), or a gateway gives the same to all, the same
prompt figures within seconds are the same response. Whichever comes first is counted; a transcript's lines still add
what only they know, thinking.
"""

from __future__ import annotations

from claude_gauge.counting.counter import KEEP_S, Counter
from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Turn
from claude_gauge.sources.otlp.decode import Request
from claude_gauge.sources.otlp.reconcile import Fill

SAME_RESPONSE_S = 10.0  # an event and a transcript's lines are written when the response ends
_LIVE_S = 3600.0  # an event of older than that was told before its transcript was read
_Prompt = tuple[int, int, int]  # input, cache read, cache creation: they do not grow from line to line


class OtlpCounter(Counter):
    """A tally that also takes OTLP's events and fills; not thread-safe, its owner locks."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[int, tuple[float, str | None, bool]] = {}  # request id, hashed -> a transcript's line
        self._events: dict[str, tuple[str, float]] = {}  # request id -> key of the event that was counted, when
        self._firsts: dict[str, tuple[str, float]] = {}  # request id -> key of the first event under it, when
        self._recycled: set[str] = set()  # ids that a gateway gave to several
        self._told_prompts: dict[_Prompt, list[tuple[float, str | None]]] = {}  # -> when, request id
        self._event_prompts: dict[_Prompt, list[tuple[float, str, str]]] = {}  # -> when, request id, key
        self._pruned_at = 0.0

    def add(self, turn: Turn, now: float) -> bool:
        """Count what a transcript's line tells."""
        self._prune(now)
        key = self._event_of(turn)
        if key is not None:
            # A subagent's line too: ids that are the same make it the same response.
            return super().add(turn._replace(message_id=None, request_id=None, line_id=key, sidechain=False), now)
        if turn.request_id:
            self._told[hash(turn.request_id)] = (turn.at, turn.message_id, turn.sidechain)
        if turn.at > now - _LIVE_S:
            self._told_prompts.setdefault(_prompt(turn), []).append((turn.at, turn.request_id))
        return super().add(turn, now)

    def _event_of(self, turn: Turn) -> str | None:
        """Find the counted event of a line's response."""
        if self._names(turn.request_id) and turn.request_id in self._events:
            return self._events[turn.request_id][0]
        for at, request_id, key in self._event_prompts.get(_prompt(turn), []):
            if _near(at, turn.at) and not self._differ(request_id, turn.request_id):
                return key
        return None

    def event(self, request: Request, now: float) -> bool:
        """Count what an event tells; of a response that a transcript told, only what is more (its stream was cut)."""
        self._prune(now)
        turn = _turn(request.key, min(request.at, now), request.model, request.tokens)
        name = request.request_id
        if self._firsts.setdefault(name, (request.key, turn.at))[0] != request.key:
            self._recycled.add(name)
        line = self._told.get(hash(name)) if self._names(name) else None
        if line is not None:
            _, message_id, sidechain = line
            same = turn._replace(message_id=message_id, request_id=name, line_id=None, sidechain=sidechain)
            return super().add(same, now)
        told = self._told_prompts.get(_prompt(turn), [])
        if any(_near(at, turn.at) and not self._differ(name, other) for at, other in told):
            return False
        self._events.setdefault(name, (request.key, turn.at))
        self._event_prompts.setdefault(_prompt(turn), []).append((turn.at, name, request.key))
        return super().add(turn, now)

    def _names(self, request_id: str | None) -> bool:
        """Tell whether an id names one response."""
        return bool(request_id) and request_id not in self._recycled

    def _differ(self, one: str | None, other: str | None) -> bool:
        """Tell whether two ids name two responses."""
        return self._names(one) and self._names(other) and one != other

    def fill(self, fill: Fill, before: Tokens, now: float) -> bool:
        """Enter what metrics told, or lower what was entered under the same key `before`."""
        if before == Tokens():
            return super().add(_turn(fill.key, min(fill.at, now), fill.model, fill.tokens), now)
        at = min(fill.at, now)
        self._window.add(at, fill.tokens - before)
        self.blocks.move(at, round(before.total), at, round(fill.tokens.total))
        return True

    def _prune(self, now: float) -> None:
        if abs(now - self._pruned_at) < _LIVE_S:
            return
        self._pruned_at, oldest = now, now - KEEP_S
        self._told = {key: line for key, line in self._told.items() if line[0] >= oldest}
        self._events = {key: event for key, event in self._events.items() if event[1] >= oldest}
        self._firsts = {key: event for key, event in self._firsts.items() if event[1] >= oldest}
        self._told_prompts = {key: told for key, told in self._told_prompts.items() if told[-1][0] >= now - _LIVE_S}
        self._event_prompts = {key: told for key, told in self._event_prompts.items() if told[-1][0] >= oldest}


def _turn(key: str, at: float, model: str, tokens: Tokens) -> Turn:
    return Turn(
        at, None, None, key, model, False,  # noqa: FBT003 - no sidechain
        round(tokens.input), round(tokens.output), round(tokens.cache_read), round(tokens.cache_creation),
    )  # fmt: skip


def _prompt(turn: Turn) -> _Prompt:
    return turn.input, turn.cache_read, turn.cache_creation


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_RESPONSE_S
