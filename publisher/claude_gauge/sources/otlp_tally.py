"""One tally for transcripts and OTLP together: a response that both tell is counted once.

Both know the request's id. Where a provider gives none (Bedrock, Vertex), the same four figures within seconds are
the same response. Whichever comes first is counted; the transcript's lines still add what only they know, thinking.
"""

from __future__ import annotations

from dataclasses import replace

from claude_gauge.reading import Tokens
from claude_gauge.sources.otlp_books import Fill
from claude_gauge.sources.otlp_decode import Request
from claude_gauge.tally import KEEP_S, Tally
from claude_gauge.turn import Turn

SAME_RESPONSE_S = 10.0  # an event and a transcript's lines are written when the response ends
_Figures = tuple[int, int, int, int]


class JointTally(Tally):
    """A tally that also takes OTLP's events and fills; not thread-safe, its owner locks."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[int, float] = {}  # request ids in transcripts, hashed -> when
        self._events: dict[str, tuple[str, float]] = {}  # request id -> key of the event that told it first, when
        self._recycled: set[str] = set()  # ids that a gateway gave to several
        self._told_figures: dict[_Figures, list[float]] = {}
        self._event_figures: dict[_Figures, list[tuple[float, str]]] = {}
        self._pruned_at = 0.0

    def add(self, turn: Turn, now: float) -> bool:
        """Count what a transcript's line tells."""
        self._prune(now)
        if turn.request_id and turn.request_id not in self._recycled:
            event = self._events.get(turn.request_id)
            if event is not None:
                turn = replace(turn, message_id=None, request_id=None, line_id=event[0])
            else:
                self._told[hash(turn.request_id)] = turn.at
        else:
            key = next((key for at, key in self._event_figures.get(_figures(turn), []) if _near(at, turn.at)), None)
            if key is not None:
                turn = replace(turn, message_id=None, request_id=None, line_id=key)
            else:
                self._told_figures.setdefault(_figures(turn), []).append(turn.at)
        return super().add(turn, now)

    def event(self, request: Request, now: float) -> bool:
        """Count what an event tells, unless a transcript told it already."""
        self._prune(now)
        turn = _turn(request.key, min(request.at, now), request.model, request.tokens)
        if self._events.setdefault(request.request_id, (request.key, turn.at))[0] != request.key:
            self._recycled.add(request.request_id)
        if request.request_id and request.request_id not in self._recycled:
            known = hash(request.request_id) in self._told
        else:
            known = any(_near(at, turn.at) for at in self._told_figures.get(_figures(turn), []))
        if known:
            return False
        self._event_figures.setdefault(_figures(turn), []).append((turn.at, request.key))
        return super().add(turn, now)

    def fill(self, fill: Fill, before: Tokens, now: float) -> bool:
        """Enter what metrics told, or lower what was entered under the same key `before`."""
        if before == Tokens():
            return super().add(_turn(fill.key, min(fill.at, now), fill.model, fill.tokens), now)
        at = min(fill.at, now)
        self._window.add(at, fill.tokens - before)
        self.blocks.move(at, round(before.total), at, round(fill.tokens.total))
        return True

    def _prune(self, now: float) -> None:
        if abs(now - self._pruned_at) < KEEP_S / 8:
            return
        self._pruned_at, oldest = now, now - KEEP_S
        self._told = {key: at for key, at in self._told.items() if at >= oldest}
        self._events = {key: event for key, event in self._events.items() if event[1] >= oldest}
        self._told_figures = {key: ats for key, ats in self._told_figures.items() if ats[-1] >= oldest}
        self._event_figures = {key: ats for key, ats in self._event_figures.items() if ats[-1][0] >= oldest}


def _turn(key: str, at: float, model: str, tokens: Tokens) -> Turn:
    counts = (tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation)
    return Turn(at, None, None, key, model, False, *map(round, counts))  # noqa: FBT003


def _figures(turn: Turn) -> _Figures:
    return turn.input, turn.output, turn.cache_read, turn.cache_creation


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_RESPONSE_S
