"""Events and metrics of the same use → each token once: events as they are, metrics for what no event told.

An `api_request` event is exact in time, and is what transcripts can be held against. The metrics count the same
tokens a second time; they are compared with the events per session, and only their surplus is entered: all of it
where a session sends no events, and what went by while we were away where its counters are cumulative.
Should the events come later than the metrics waited for, the surplus is lowered again.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from claude_gauge.counting.counter import KEEP_S
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import Point, Request
from claude_gauge.sources.otlp.series import Meters, Series, Used, of_kind

EVENTS_LATE_S = 15.0  # what a session that sends events is given before its metrics are compared
FIRST_EVENT_S = 6.0  # what a new session is given to send its first one; Claude Code sends them every 5 s
SAME_MOMENT_S = 0.1  # Claude Code counts a request some milliseconds before it tells the event
RETURN_S = 30 * 86400.0  # a session that was silent for longer is taken for over
PIECE_S = 60.0
MOST_PIECES = 300
_EVENTS_KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Fill:
    """Tokens that metrics told and no event did; entered again under the same key, the newest figures hold."""

    key: str
    unit: str
    at: float
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class _Comparison:
    """To be made at `due`: all that was metered up to `at`; `used` is what it is made for."""

    due: float
    at: float
    metered: Tokens
    used: Used


@dataclass(slots=True)
class _Unit:
    """One session (or origin): all its metrics counted, all its events told, and what was filled in."""

    metered: Tokens = field(default_factory=Tokens)
    explained: Tokens = field(default_factory=Tokens)
    filled: Tokens = field(default_factory=Tokens)
    metered_at: float = 0.0
    talks: bool = False
    first_at: float = 0.0
    events: list[tuple[float, Tokens]] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    waiting: deque[_Comparison] = field(default_factory=deque)


class Reconciler:
    """The accounts of all units; times are epoch seconds, `now` is when something was received."""

    def __init__(self) -> None:
        self.meters = Meters()
        self._units: dict[str, _Unit] = {}
        self._requests: dict[str, float] = {}
        self._number = 0

    def load(self, requests: Iterable[Request], series: Iterable[Series], fills: Iterable[Fill], now: float) -> None:
        """Take what was kept; metrics that had not been compared yet are compared soon."""
        for request in requests:
            self.request(request, now)
        for each in series:
            self.meters.load(each)
        for each in self.meters.series.values():
            unit = self._unit(each.unit, now)
            unit.metered += of_kind(each.kind, each.total)
            unit.metered_at = max(unit.metered_at, each.at)
        for fill in fills:
            unit = self._unit(fill.unit, now)
            unit.fills.append(fill)
            unit.filled += fill.tokens
            self._number = max(self._number, int(fill.key.rpartition("-")[2], 16))
        for name, unit in self._units.items():
            if unit.metered.total:
                self._compare(unit, now + self._patience(unit, now), _nothing(name, unit))

    def explain(self, unit: str, tokens: Tokens, now: float) -> None:
        """Count tokens of old as told, without their events."""
        self._unit(unit, now).explained += tokens

    def talks(self, units: Iterable[str], now: float) -> None:
        """Note who sends events at all."""
        for unit in units:
            self._unit(unit, now).talks = True

    def request(self, request: Request, now: float) -> bool:
        """Count an event; False for one that was told before."""
        if request.key in self._requests:
            return False
        self._requests[request.key] = request.at
        for name in request.units:
            unit = self._unit(name, now)
            unit.talks = True
            unit.explained += request.tokens
            if request.at >= now - _EVENTS_KEPT_S:
                insort(unit.events, (request.at, request.tokens), key=lambda event: event[0])
            if unit.filled.total and not unit.waiting:
                self._compare(unit, now, _nothing(name, unit))
        return True

    def metrics(self, points: Iterable[Point], now: float) -> list[Series]:
        """Count points; they are entered by `settle`, once the events had their time."""
        changed, used = self.meters.take(points)
        for each in used:
            unit = self._unit(each.unit, now)
            unit.metered += each.tokens
            unit.metered_at = max(unit.metered_at, each.at)
            self._compare(unit, now + self._patience(unit, now), each)
        return changed

    def _compare(self, unit: _Unit, due: float, used: Used) -> None:
        unit.waiting.append(_Comparison(due, unit.metered_at, unit.metered, used))

    def _patience(self, unit: _Unit, now: float) -> float:
        if unit.talks:
            return EVENTS_LATE_S
        return FIRST_EVENT_S if now - unit.first_at < EVENTS_LATE_S else 0.0

    def due(self) -> float | None:
        """Tell when `settle` has something to do."""
        return min((unit.waiting[0].due for unit in self._units.values() if unit.waiting), default=None)

    def settle(self, now: float) -> list[Fill]:
        """Compare metrics with events where it is time; return the fills that are new or lowered."""
        entered: list[Fill] = []
        for unit in self._units.values():
            while unit.waiting and unit.waiting[0].due <= now:
                each = unit.waiting.popleft()
                surplus = each.metered - self._told_by(unit, each.at)
                entered += self._raise(unit, each.used, _over(surplus, unit.filled))
                entered += self._lower(unit, _over(unit.filled, _over(surplus, Tokens())))
        return entered

    def _told_by(self, unit: _Unit, at: float) -> Tokens:
        later = Tokens()
        for event_at, tokens in reversed(unit.events):
            if event_at <= at + SAME_MOMENT_S:
                break
            later += tokens
        return unit.explained - later

    def _raise(self, unit: _Unit, used: Used, missing: Tokens) -> Iterator[Fill]:
        if not missing.total:
            return
        unit.filled += missing
        for at, tokens in spread(missing, used.start, used.at):
            self._number += 1
            fill = Fill(f"{used.unit}-{self._number:x}", used.unit, at, used.model, tokens)
            unit.fills.append(fill)
            yield fill

    def _lower(self, unit: _Unit, excess: Tokens) -> Iterator[Fill]:
        """Take an excess out of the newest fills."""
        for index in range(len(unit.fills) - 1, -1, -1):
            if not excess.total:
                return
            fill = unit.fills[index]
            left = _over(fill.tokens, excess)
            if left == fill.tokens:
                continue
            excess -= fill.tokens - left
            unit.filled -= fill.tokens - left
            unit.fills[index] = replace(fill, tokens=left)
            yield unit.fills[index]

    def forget(self, now: float) -> None:
        """Drop what no comparison needs any more; the sums stay as long as their session may come back."""
        self._requests = {key: at for key, at in self._requests.items() if at >= now - KEEP_S}
        self._units = {
            name: unit for name, unit in self._units.items() if max(unit.first_at, unit.metered_at) >= now - RETURN_S
        }
        self.meters.forget(now - RETURN_S)
        for unit in self._units.values():
            unit.events = [event for event in unit.events if event[0] >= now - _EVENTS_KEPT_S]
            unit.fills = [fill for fill in unit.fills if fill.at >= now - KEEP_S]

    def _unit(self, name: str, now: float) -> _Unit:
        unit = self._units.get(name)
        if unit is None:
            unit = self._units[name] = _Unit(first_at=now)
        return unit


def _nothing(name: str, unit: _Unit) -> Used:
    """Stand for a comparison of what was counted before."""
    return Used(name, unit.metered_at, unit.metered_at, "", Tokens())


def spread(tokens: Tokens, start: float, end: float) -> list[tuple[float, Tokens]]:
    """Lay out tokens evenly over (start, end], a piece a minute at most: a jump is no burst."""
    count = max(1, min(MOST_PIECES, math.ceil((end - start) / PIECE_S)))
    names = ("input", "output", "cache_read", "cache_creation")
    cuts = [
        Tokens(**{name: math.floor(getattr(tokens, name) * step / count) for name in names}) for step in range(count)
    ]
    width = (end - start) / count
    pieces = [later - earlier for earlier, later in pairwise([*cuts, tokens])]
    return [(end - width * (count - 1 - index), piece) for index, piece in enumerate(pieces) if piece.total]


def _over(one: Tokens, other: Tokens) -> Tokens:
    """How far each kind of one is above the other's."""
    return Tokens(
        max(0, one.input - other.input),
        max(0, one.output - other.output),
        max(0, one.cache_read - other.cache_read),
        max(0, one.cache_creation - other.cache_creation),
    )
