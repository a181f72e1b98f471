"""One counter for transcripts and OTLP together: a response that both report counts once.

Both know the request's id. Where one of them has none (Bedrock, Vertex, gateways), or a gateway gives the same to all,
the same prompt figures are the same response, if the event's time fits: it is sent when the response ends, and a
transcript's line may have the time of a block that was finished up to LONGEST_S before. One event stands for one
response, so two with the same figures stay two.

    event first   it is counted; lines of its response then raise its figures (thinking, above all)
    lines first   they are counted; the event adds what is more (a stream that was cut) and has the time of the end

Which event a line belongs to is a guess among those with its figures. A later line of the response corrects it: an
event that was over by then is another response's, and a response may move to another event where that lets both have
one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from claude_gauge.counting.counter import KEEP_S, Counter
from claude_gauge.counting.ledger import Change, Counted
from claude_gauge.counting.reading import Thinking, Tokens, Traffic
from claude_gauge.counting.sums import FIVE_MINUTES_S
from claude_gauge.counting.turn import Turn
from claude_gauge.sources.otlp.decode import Request
from claude_gauge.sources.otlp.journal import Event
from claude_gauge.sources.otlp.reconcile import Fill
from claude_gauge.sources.otlp.timeline import Entry, Timeline

SAME_MOMENT_S = 10.0  # between the event and the last of a transcript's lines
LONGEST_S = 900.0  # that a response's first block may lie before its end
_HOUR_S = 3600.0
_NAME_BITS = 2**60 - 1
_MOST_PAIRS = 200_000  # of responses without request ids, the oldest are forgotten first
_MOST_MOVES = 16  # responses that are asked to move for another; among more, all with the same figures, none is
_Prompt = tuple[int, int, int]  # input, cache read, cache creation: they do not grow from line to line


class _Pair(NamedTuple):
    """The event of a transcript's response, and its newest line: when, with which output and request's id (0: none)."""

    event: Entry
    at: float
    output: int
    request: int


class OtlpCounter(Counter):
    """A counter that also takes OTLP's events and fills; not thread-safe, its owner locks."""

    def __init__(self) -> None:
        super().__init__()
        self._lines_by_request: dict[
            int, tuple[float, str | None, bool]
        ] = {}  # request id, hashed -> a transcript's line
        self._firsts: dict[int, int] = {}  # request id, hashed -> key of the first event under it
        self._recycled: set[int] = set()  # ids that a gateway gave to several
        self._lines, self._events = Timeline(), Timeline()  # of what was counted
        self._partners: dict[int, int] = {}  # event's key -> the response that it is
        self._paired: dict[int, _Pair] = {}  # and back: the next line of that response takes no second event
        self._taken: dict[int, int] = {}  # response -> the event that it is, where the line came first
        self._unmeasured: dict[int | str, tuple[float, float]] = {}  # key -> time and output without known thinking
        self._pruned_at = 0.0

    def traffic(self, now: float) -> Traffic:
        """Return the recent sums, and how much of the output only OTLP reported: its thinking is unknown."""
        traffic = super().traffic(now)
        self._unmeasured = {key: each for key, each in self._unmeasured.items() if each[0] > now - 2 * FIVE_MINUTES_S}
        unmeasured = sum(output for at, output in self._unmeasured.values() if now - FIVE_MINUTES_S < at <= now)
        if not unmeasured:
            return traffic
        thinking: Thinking = "estimated" if traffic.five_minutes.output > unmeasured else "unknown"
        return replace(traffic, thinking=thinking, unmeasured=unmeasured)

    def add(self, turn: Turn, now: float) -> bool:
        """Count a transcript's line."""
        self._prune(now)
        event, earlier = self._event_of(turn, now)
        if event is not None:
            changes = [self._raise(event, line, now) for line in (*earlier, turn)]
            return any(changes)
        if turn.request_id:
            self._lines_by_request[_name(turn.request_id)] = (turn.at, turn.message_id, turn.sidechain)
        changed = super().add(turn, now)
        if changed and turn.at >= self.oldest:
            self._lines.add(turn.at, _identity(turn, turn.line_id), _name(turn.request_id), _figures(turn))
        for line in earlier:
            super().add(line._replace(message_id=turn.message_id, request_id=turn.request_id, model=turn.model), now)
        return changed

    def files_before(self, _now: float) -> float:
        """Return no time: any line may be of an event's response."""
        return -math.inf

    def _event_of(self, turn: Turn, now: float) -> tuple[Entry | None, list[Turn]]:
        """Find the counted event of a line's response; and earlier lines of it, which stood at another's event."""
        name, identity = self._names(turn.request_id), _identity(turn)
        since, until = turn.at - SAME_MOMENT_S, turn.at + _longest(turn)
        if name and name in self._firsts:
            same = next(self._events.near(name, since, until, "request"), None)
            return same or self._events.anywhere(name), []
        own = self._paired.get(identity) if turn.message_id else None
        if own is not None and since <= own.event.at <= until:
            self._paired[identity] = own._replace(at=max(turn.at, own.at))
            return own.event, []
        earlier: list[Turn] = []
        if own is not None and own.event.at < since and self._partners.get(own.event.key) == identity:
            del self._partners[own.event.key]  # this response ended later: that event is another's
            earlier = self._withdrawn(own, now)
        return self._event_by_figures(turn, name, identity, now), earlier

    def _withdrawn(self, pair: _Pair, now: float) -> list[Turn]:
        """Take back what a response's lines added to its event; return lines that say the same."""
        event = pair.event
        withdrawn = self._ledger.withdraw(_line(event.key))
        if withdrawn is None:
            return []
        held, lines = withdrawn
        self._apply(Change(held, _counted(event.at, Tokens(*event.figures))), now)
        self._unmeasured[event.key] = event.at, event.figures[1]
        return [line._replace(at=pair.at) for line in lines]

    def _event_by_figures(self, turn: Turn, name: int, identity: int, now: float) -> Entry | None:
        """Find an event that no other response has, else one whose response can have another one; same output first."""
        nearest = self._nearest(self._events, turn, turn.at - SAME_MOMENT_S, turn.at + _longest(turn))
        fitting = [event for event in nearest if not self._differ(event.request, name)]
        same = [event for event in fitting if event.figures[1] == turn.output]
        for some in (same, fitting[len(same) :]):
            free = (event for event in some if self._partners.get(event.key, identity) == identity)
            asked: set[int] = set()
            event = next(free, None)
            if event is None and len(some) <= _MOST_MOVES:
                event = next((each for each in some if self._moved_away(each, asked, now)), None)
            if event is not None:
                self._pair(identity, _Pair(event, turn.at, turn.output, name))
                return event
        return None

    def _moved_away(self, event: Entry, asked: set[int], now: float) -> bool:
        """Give the response that has an event another with its figures, which may have to be left for a third one."""
        holder = self._partners[event.key]
        pair = self._paired.get(holder)
        if pair is None or pair.event.key != event.key or event.key in asked or len(asked) == _MOST_MOVES:
            return False
        asked.add(event.key)
        own, _, read, created = event.figures
        line = Turn(pair.at, None, None, None, "", False, own, pair.output, read, created)  # noqa: FBT003
        for other in self._nearest(self._events, line, pair.at - SAME_MOMENT_S, pair.at + _longest(line)):
            fits = other.figures[1] == pair.output and not self._differ(other.request, pair.request)
            if fits and (other.key not in self._partners or self._moved_away(other, asked, now)):
                self._pair(holder, pair._replace(event=other))
                for each in self._withdrawn(pair, now):
                    self._raise(other, each, now)
                return True
        return False

    def _pair(self, identity: int, pair: _Pair) -> None:
        self._partners[pair.event.key], self._paired[identity] = identity, pair

    def _nearest(self, timeline: Timeline, turn: Turn, since: float, until: float) -> list[Entry]:
        """List what has a turn's prompt in a span of time: the same output first, then the nearest.

        With another output (a line of a stream that was cut) it has to be at the same moment.
        """
        near = timeline.near(hash(_prompt(turn)), since, until)
        ranked = [(each.figures[1] != turn.output, abs(each.at - turn.at), each) for each in near]
        return [each for other, apart, each in sorted(ranked) if not other or apart <= SAME_MOMENT_S]

    def _raise(self, event: Entry, turn: Turn, now: float) -> bool:
        """Add what a line has beyond its event, which the ledger records without counting it again.

        A subagent's line too: ids that are the same make it the same.
        """
        counted = Turn(event.at, None, None, _line(event.key), turn.model, False, *event.figures)  # noqa: FBT003
        self._ledger.add(counted)
        self._unmeasured.pop(event.key, None)
        same = turn._replace(message_id=None, request_id=None, line_id=counted.line_id, sidechain=False)
        return super().add(same, now)

    def event(self, request: Request, now: float) -> bool:
        """Count an event; of a response that a transcript has, only what is more (its stream was cut)."""
        self._prune(now)
        key, request_id, _, at, model, tokens = request
        name, at = _name(request_id), min(at, now)
        known = name in self._firsts
        if known and self._firsts[name] != key:
            self._recycled.add(name)
        line = self._lines_by_request.get(name) if name not in self._recycled else None
        if line is not None:
            return self._add_to_line(request, at, line, now)
        if self._lines and self._counted_by_a_line(_turn(request, at), name, key):
            return False
        if name and not known:
            self._firsts[name] = key
        figures = round(tokens.input), round(tokens.output), round(tokens.cache_read), round(tokens.cache_creation)
        self._events.add(at, key, name, figures)
        return self._count(key, at, model, tokens, now)

    def kept(self, events: Iterable[tuple[int, Event]], now: float) -> None:
        """Count events of earlier runs and their keys, hundreds of thousands at a start: what is over is only filed."""
        newest, over, alone = None, now - 2 * FIVE_MINUTES_S, not self._lines_by_request and not self._lines
        for key, event in events:
            name, at = _name(event.request_id), event.at
            if not alone or not self.oldest <= at <= over or name in self._firsts:
                self.event(event.request(), now)
                continue
            own, output, read, created = map(round, event.counts)
            if name:
                self._firsts[name] = key
            self._events.add(at, key, name, (own, output, read, created))
            self.blocks.add(at, own + output + read + created)
            if newest is None or at >= newest.at:
                newest = event
        if newest is not None:
            self._window.seen(newest.at, newest.model, now)

    def _add_to_line(self, request: Request, at: float, line: tuple[float, str | None, bool], now: float) -> bool:
        """Add what an event has beyond a line with its request id."""
        _, message_id, sidechain = line
        turn = _turn(request, at)._replace(message_id=message_id, request_id=request.request_id)
        return super().add(turn._replace(sidechain=sidechain), now)

    def _counted_by_a_line(self, turn: Turn, name: int, key: int) -> bool:
        """Return whether a line without its event is this response, and make them one."""
        for line in self._nearest(self._lines, turn, turn.at - _longest(turn), turn.at + SAME_MOMENT_S):
            if self._taken.get(line.key, key) == key and not self._differ(name, line.request):
                self._taken[line.key] = key
                return True
        return False

    def _count(self, key: int | str, at: float, model: str, tokens: Tokens, now: float) -> bool:
        """Count without the ledger: the reconciler knows what is repeated."""
        self._window.seen(at, model, now)
        if at < self.oldest:
            return False
        if at > now - 2 * FIVE_MINUTES_S:
            self._window.add(at, tokens)
            self._unmeasured[key] = at, tokens.output
        self.blocks.add(at, round(tokens.total))
        return True

    def _names(self, request_id: str | None) -> int:
        """Return an id's hash where it names one response, else 0."""
        name = _name(request_id)
        return 0 if name in self._recycled else name

    def _differ(self, one: int, other: int) -> bool:
        """Return whether two ids name two responses."""
        return bool(one and other and one != other and not {one, other} & self._recycled)

    def fill(self, fill: Fill, before: Tokens, now: float) -> bool:
        """Enter what metrics reported, or lower what was entered under the same key `before`."""
        if before == Tokens():
            return self._count(fill.key, fill.at, fill.model, fill.tokens, now)
        if fill.key in self._unmeasured:
            self._unmeasured[fill.key] = fill.at, fill.tokens.output
        self._apply(Change(_counted(fill.at, before), _counted(fill.at, fill.tokens)), now)
        return True

    def _prune(self, now: float) -> None:
        if abs(now - self._pruned_at) < _HOUR_S:
            return
        self._pruned_at, oldest = now, now - KEEP_S
        self._lines_by_request = {key: line for key, line in self._lines_by_request.items() if line[0] >= oldest}
        self._lines.forget(oldest)
        for key, name in self._events.forget(oldest):
            if self._firsts.get(name) == key:
                del self._firsts[name]
        for pairs in (self._partners, self._taken, self._paired):
            for key in list(islice(pairs, max(0, len(pairs) - _MOST_PAIRS))):
                pairs.pop(key)


def _turn(request: Request, at: float) -> Turn:
    tokens = request.tokens
    return Turn(
        at, None, None, None, request.model, False,  # noqa: FBT003 - no sidechain
        round(tokens.input), round(tokens.output), round(tokens.cache_read), round(tokens.cache_creation),
    )  # fmt: skip


def _counted(at: float, tokens: Tokens) -> Counted:
    return Counted(at, tokens, estimated=False, filed_at=at, total=round(tokens.total))


def _figures(turn: Turn) -> tuple[int, int, int, int]:
    return turn.input, turn.output, turn.cache_read, turn.cache_creation


def _prompt(turn: Turn) -> _Prompt:
    return turn.input, turn.cache_read, turn.cache_creation


def _longest(turn: Turn) -> float:
    """Return how long before its end a line may lie: prompts without figures distinguish nothing."""
    return LONGEST_S if any(_prompt(turn)) else SAME_MOMENT_S


def _identity(turn: Turn, else_by: str | None = None) -> int:
    """Name the response of a line by its message's id, `else_by` another one."""
    return hash((turn.message_id or else_by, _prompt(turn)))


def _name(request_id: str | None) -> int:
    """Return an id's hash, 60 bits of it as of an event's key, or 0 for none."""
    return hash(request_id) & _NAME_BITS if request_id else 0


def _line(key: int) -> str:
    return f"otlp-{key:x}"
