"""Reconciles OTLP events with OTLP metrics, so that tokens reported by both count once.

Claude Code reports each token twice: by an `api_request` event, exact in time, and by the counters of its metrics,
exported once a minute by default. Events count as they are. Metrics are compared with them per session, and only
their surplus is entered, as fills: all of it where a session sends no events, and what went by while we were away
where its counters are cumulative. For each session, and each kind of token,

    metered     what its metrics add up to (series.py makes one sum of delta and cumulative ones)
    explained   what its events add up to
    filled      what was entered where events are missing: in the end the larger of the two, less what is explained

What may arrive, in any order and repeatedly (exports are sent again when their answer was lost):

    event     explained grows; where something was filled, it is compared again and lowered by what is explained now
    metrics   metered grows; a comparison is due after EVENTS_LATE_S, since events come up to 5 s after their response
    silence   after RETURN_S without metrics a session is over (`Ended`, kept in the journal): its sums begin again at 0
    restart   the journal brings back events, series and fills; every metered session is compared once more

A comparison is made for a moment: events that are later than the metrics' newest point are left out of it.
An event without session id is explained under its origin (person and host) alone, as are such metrics.
The number of sessions is bounded: the one that was silent the longest is treated as ended.
"""

from __future__ import annotations

import math
from array import array
from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise, takewhile
from operator import itemgetter
from typing import Any

from claude_gauge.counting.counter import KEEP_S
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import Point, Request
from claude_gauge.sources.otlp.series import Meters, Series, Used, of_kind

EVENTS_LATE_S = 15.0  # what a session that sends events is given before its metrics are compared
FIRST_EVENT_S = 6.0  # what a new session is given to send its first one; Claude Code sends them every 5 s
SAME_MOMENT_S = 0.1  # Claude Code counts a request some milliseconds before it reports the event
RETURN_S = 30 * 86400.0  # a session that was silent for longer is treated as ended
MOST_UNITS = 20_000
PIECE_S = 60.0
MOST_PIECES = 300
_DAY_S = 86400.0
_AT_ONCE, _PIECES_AT_ONCE = 500, 1500  # sessions that are compared, and pieces of what theirs lack
_EVENTS_KEPT_S = 3600.0
_NOTHING = Tokens()
_time = itemgetter(0)
Counts = tuple[float, float, float, float]  # input, output, cache read, cache creation


@dataclass(frozen=True, slots=True)
class Fill:
    """Tokens that metrics reported and no event did; entered again under the same key, the newest figures hold."""

    key: str
    unit: str
    at: float
    model: str
    tokens: Tokens

    @property
    def number(self) -> int:
        """Its running number, the last part of its key."""
        return int(self.key.rpartition("-")[2], 16)


@dataclass(frozen=True, slots=True)
class Ended:
    """A session whose metrics were silent for so long that it is treated as ended, as of then: all sums begin again."""

    unit: str
    at: float


@dataclass(frozen=True, slots=True)
class _Comparison:
    """To be made at `due`: all that was metered up to `at`; `used` is what it is made for."""

    due: float
    at: float
    metered: Tokens
    used: Used


# What a unit's events add up to, of the four kinds, and when the newest was. A row of numbers instead of an object,
# since a week may have hundreds of thousands of units with an event each.
_Reported = array
_NEWEST = 4


def _nothing_reported() -> _Reported[float]:
    return array("d", (0, 0, 0, 0, 0))


@dataclass(slots=True)
class _Unit:
    """One session (or origin) that has metrics: what they add up to, what its events reported, what was filled in."""

    reported: _Reported[float]
    talks: bool  # sends events at all
    first_at: float
    metered: Tokens = _NOTHING
    filled: Tokens = _NOTHING
    metered_at: float = 0.0
    fills: list[Fill] | None = None

    @property
    def newest_at(self) -> float:
        """When its newest event or point was."""
        return max(self.reported[_NEWEST], self.metered_at)

    def enter(self, fill: Fill) -> None:
        """Keep a fill."""
        if self.fills is None:
            self.fills = []
        self.fills.append(fill)


class Reconciler:
    """The accounts of all units; times are epoch seconds, `now` is when something was received."""

    def __init__(self) -> None:
        self.meters = Meters()
        # By the name's hash: units with metrics, and what those reported that have events alone.
        self._units: dict[int, _Unit] = {}
        self._talkers: dict[int, _Reported[float]] = {}
        self._recent: dict[int, list[tuple[float, Counts]]] = {}  # the events of the last hour, in order of time
        self._waiting: dict[int, list[_Comparison]] = {}  # in order of their time
        self._requests: dict[int, dict[int, None]] = {}  # day -> keys of the events that were counted; a set is larger
        self._number = 0

    def load(self, series: Iterable[Series], fills: Iterable[Fill], number: int, now: float) -> None:
        """Take what was kept beside the events, before these: metered sessions are never among those that make room.

        `number` is the highest that a fill ever had.
        """
        self._number = number
        for each in series:
            self.meters.load(each)
        for each in self.meters.series.values():
            unit = self._metered(each.unit, now)
            unit.metered += of_kind(each.kind, each.total)
            unit.metered_at = max(unit.metered_at, each.at)
        for fill in fills:
            unit = self._metered(fill.unit, now)
            unit.enter(fill)
            unit.filled += fill.tokens

    def loaded(self, now: float) -> None:
        """End the loading: all that is metered is compared soon with the events that were kept."""
        for name in dict.fromkeys(each.unit for each in self.meters.series.values()):
            unit = self._metered(name, now)
            if unit.metered.total:
                self._compare(name, unit, now + self._patience(unit, now), _nothing(name, unit))

    def explain(self, unit: str, tokens: Tokens, now: float) -> None:
        """Count the tokens of dropped events, without the events."""
        self._explain(unit, _counts(tokens), now - KEEP_S)

    def talks(self, units: Iterable[str], now: float) -> None:
        """Note who sends events at all."""
        for unit in units:
            self._explain(unit, (0, 0, 0, 0), now)

    def request(self, request: Request, now: float) -> bool:
        """Count an event that was received; False for a repeat."""
        if not self.kept(request.key, request.units, request.at, _counts(request.tokens), now):
            return False
        for name in request.units if self._units else ():
            unit = self._units.get(hash(name))
            if unit is not None and unit.filled.total and not self._waiting.get(hash(name)):
                self._compare(name, unit, now, _nothing(name, unit))
        return True

    def kept(self, key: int, units: Iterable[str], at: float, counts: Counts, now: float) -> bool:
        """Count an event, as it is kept from run to run; False for a repeat. A start calls it for each of a week."""
        number = int(at // _DAY_S)
        day = self._requests.get(number)
        if day is None:
            day = self._requests[number] = {}
        if key in day:
            return False
        day[key] = None
        for name in units:
            self._explain(name, counts, at)
            if at >= now - _EVENTS_KEPT_S:
                insort(self._recent.setdefault(hash(name), []), (at, counts), key=_time)
        return True

    def _explain(self, name: str, counts: Counts, at: float) -> None:
        """Add an event's figures to what its unit reported."""
        key = hash(name)
        reported = self._talkers.get(key)
        if reported is None:
            reported = self._first_reported(key)
        own, output, read, created = counts
        reported[0] += own
        reported[1] += output
        reported[2] += read
        reported[3] += created
        reported[_NEWEST] = max(reported[_NEWEST], at)

    def _first_reported(self, key: int) -> _Reported[float]:
        """Return what a unit reported, also of one that is metered or reported nothing so far."""
        unit = self._units.get(key)
        if unit is not None:
            unit.talks = True
            return unit.reported
        reported = self._talkers[key] = _nothing_reported()
        if len(self._talkers) > MOST_UNITS:
            _spare(self._talkers, [each[_NEWEST] for each in self._talkers.values()])
        return reported

    def metrics(self, points: Iterable[Point], now: float) -> list[Series]:
        """Count points; they are entered by `settle`, once the events had their time."""
        changed, used = self.meters.take(points, now)
        for each in used:
            unit = self._metered(each.unit, now)
            unit.metered += each.tokens
            unit.metered_at = max(unit.metered_at, each.at)
            self._compare(each.unit, unit, now + self._patience(unit, now), each)
        return changed

    def _compare(self, name: str, unit: _Unit, due: float, used: Used) -> None:
        waiting = self._waiting.setdefault(hash(name), [])
        waiting.append(_Comparison(due, unit.metered_at, unit.metered, used))

    def _patience(self, unit: _Unit, now: float) -> float:
        if unit.talks:
            return EVENTS_LATE_S
        return FIRST_EVENT_S if now - unit.first_at < EVENTS_LATE_S else 0.0

    def due(self) -> float | None:
        """Return when `settle` has something to do."""
        return min((waiting[0].due for waiting in self._waiting.values()), default=None)

    def settle(self, now: float) -> list[Fill]:
        """Compare metrics with events where it is time; return the fills that are new or lowered.

        Of very many sessions only some are compared at once, for somebody waits; `due` says that others are left.
        """
        entered: list[Fill] = []
        units = (key for key, waiting in self._waiting.items() if waiting[0].due <= now)
        keys = list(islice(units, _AT_ONCE))
        most = _PIECES_AT_ONCE // max(1, len(keys))
        for key in keys:
            waiting, unit = self._waiting.pop(key), self._units.get(key)
            due = list(takewhile(lambda each: each.due <= now, waiting))
            if len(due) < len(waiting):
                self._waiting[key] = waiting[len(due) :]
            if unit is None:
                continue
            for each, reported in zip(due, self._reported_by(key, unit, [each.at for each in due]), strict=True):
                surplus = each.metered - reported
                entered += self._raise(unit, each.used, _over(surplus, unit.filled), now, most)
                entered += self._lower(unit, _over(unit.filled, _over(surplus, Tokens())))
        return entered

    def _reported_by(self, key: int, unit: _Unit, times: list[float]) -> list[Tokens]:
        """Return what a unit's events reported of the time until each of these, which are in order; in one walk."""
        reported, recent = unit.reported[:_NEWEST], self._recent.get(key, [])
        sums, left = [], len(recent)
        for at in reversed(times):
            while left and recent[left - 1][0] > at + SAME_MOMENT_S:
                left -= 1
                for kind, count in enumerate(recent[left][1]):
                    reported[kind] -= count
            sums.append(Tokens(*reported))
        return sums[::-1]

    def _raise(self, unit: _Unit, used: Used, missing: Tokens, now: float, most: int) -> Iterator[Fill]:
        """Enter what is missing, no later than `now`: the sender's clock may be a little ahead."""
        if not missing.total:
            return
        unit.filled += missing
        for at, tokens in spread(missing, min(used.start, now), min(used.at, now), most):
            self._number += 1
            fill = Fill(f"{used.unit}-{self._number:x}", used.unit, at, used.model, tokens)
            unit.enter(fill)
            yield fill

    def _lower(self, unit: _Unit, excess: Tokens) -> Iterator[Fill]:
        """Take an excess out of the newest fills."""
        fills = unit.fills or []
        for index in range(len(fills) - 1, -1, -1):
            if not excess.total:
                return
            fill = fills[index]
            left = _over(fill.tokens, excess)
            if left == fill.tokens:
                continue
            excess -= fill.tokens - left
            unit.filled -= fill.tokens - left
            fills[index] = replace(fill, tokens=left)
            yield fills[index]

    def fill_keys(self) -> set[str]:
        """Return the keys of the fills that may still change."""
        return {fill.key for unit in self._units.values() for fill in unit.fills or ()}

    def forget(self, now: float) -> list[Ended]:
        """Drop what no comparison needs any more; return the sessions that are treated as ended.

        Their sums stay as long as they may come back; one that does so later begins again.
        """
        for day in [day for day in self._requests if (day + 1) * _DAY_S < now - KEEP_S]:
            del self._requests[day]
        for key in [key for key, each in self._units.items() if max(each.first_at, each.metered_at) < now - RETURN_S]:
            del self._units[key]
        for key in [key for key, reported in self._talkers.items() if reported[_NEWEST] < now - RETURN_S]:
            del self._talkers[key]
        ended = [Ended(unit, now) for unit in sorted(self.meters.forget(now - RETURN_S))]
        for unit in self._units.values():
            unit.fills = [fill for fill in unit.fills or () if fill.at >= now - KEEP_S] or None
        recent = (
            (key, [each for each in reported if each[0] >= now - _EVENTS_KEPT_S])
            for key, reported in self._recent.items()
        )
        self._recent = {key: reported for key, reported in recent if reported}
        return ended

    def _metered(self, name: str, now: float) -> _Unit:
        key = hash(name)
        unit = self._units.get(key)
        if unit is None:
            reported = self._talkers.pop(key, None)
            unit = self._units[key] = _Unit(reported or _nothing_reported(), talks=reported is not None, first_at=now)
            if len(self._units) > MOST_UNITS:
                for spared in _spare(self._units, [each.newest_at for each in self._units.values()]):
                    self._waiting.pop(spared, None)
        return unit


def _spare(units: dict[int, Any], newest: list[float]) -> list[int]:
    """Drop the quarter of the units that were silent the longest; return their keys."""
    count = len(units) // 4
    limit = sorted(newest)[count]
    spared = [key for key, at in zip(units, newest, strict=True) if at <= limit][:count]
    for key in spared:
        del units[key]
    return spared


def _counts(tokens: Tokens) -> Counts:
    return tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation


def _nothing(name: str, unit: _Unit) -> Used:
    """Stand for a comparison of what was counted before."""
    return Used(name, unit.metered_at, unit.metered_at, "", Tokens())


def spread(tokens: Tokens, start: float, end: float, most: int) -> list[tuple[float, Tokens]]:
    """Lay out tokens evenly over (start, end], a piece a minute and `most` of them at most: a jump is no burst."""
    count = max(1, min(MOST_PIECES, most, math.ceil((end - start) / PIECE_S)))
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
