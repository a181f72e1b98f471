"""Token counters of metrics → what each session used in all, whatever their temporality, once per point.

A series starts again with every process: its start time is part of its name. A cumulative value below the one
before is a reset; a point seen before, or older than the newest of its series, adds nothing.
The number of series is bounded: the one that was silent the longest is forgotten first. Should it come back, its
counter's value is only where counting begins again: what it counted before was counted here before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from claude_gauge.contract.plan_window import AHEAD_S, happened
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import Kind, Point

MOST_SERIES = 50_000
RECENT = 64  # points of a delta series that a late repeat is compared with


@dataclass(slots=True)
class Series:
    """What is kept of one series: its newest point, and all that it added up to."""

    name: str
    unit: str
    kind: Kind
    at: float
    value: float
    total: float
    recent: tuple[float, ...] = ()

    def by(self, now: float) -> Series:
        """Return it as of `now`, where it was written under a clock that was ahead: its sums hold."""
        if happened(self.at, now):
            return self
        return replace(self, at=now, recent=tuple(at for at in self.recent if happened(at, now)))

    def after(self, before: Series | None) -> Series:
        """Return it with the recent points of what was kept of it before."""
        known = before.recent if before else ()
        times = *(at for at in known if at not in self.recent), *self.recent
        return replace(self, recent=times[-RECENT:])


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens that one unit used in (start, at], by its metrics."""

    unit: str
    start: float
    at: float
    model: str
    tokens: Tokens


class Meters:
    """All series."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self._forgotten_at = 0.0  # the newest point of a series that had to make room

    def load(self, series: Series) -> None:
        """Take a series as it was kept."""
        self._keep(series)

    def take(self, points: Iterable[Point], now: float) -> tuple[list[Series], list[Used]]:
        """Count an export's points: the series they changed, each with its new points, and what each unit used."""
        changed: dict[str, Series] = {}
        used: dict[str, tuple[Used, float]] = {}
        for point in points:
            name = f"{point.series}@{point.start:.6f}" if point.cumulative else point.series
            since, added = self._step(name, point, now)
            if since is None:
                continue
            if name in self.series:  # else it is the one that was silent the longest
                new = (*changed[name].recent, point.at) if name in changed else (point.at,)
                changed[name] = replace(self.series[name], recent=new)
            if added > 0:
                used[point.unit] = _merged(used.get(point.unit), point, since, added)
        return list(changed.values()), [each for each, _ in used.values()]

    def forget(self, before: float) -> set[str]:
        """Drop the series that were silent since a time; return the units that have none any more."""
        silent = {each.unit for each in self.series.values() if each.at < before}
        self.series = {name: each for name, each in self.series.items() if each.at >= before}
        return silent - {each.unit for each in self.series.values()}

    def _keep(self, series: Series) -> None:
        self.series[series.name] = series
        if len(self.series) > MOST_SERIES:
            for oldest in sorted(self.series.values(), key=lambda each: each.at)[: MOST_SERIES // 10]:
                self._forgotten_at = max(self._forgotten_at, oldest.at)
                del self.series[oldest.name]

    def _step(self, name: str, point: Point, now: float) -> tuple[float | None, float]:
        """Count one point; return since when it counts, None for a repeat, and what it added."""
        series = self.series.get(name)
        if series is None:
            # Without a start the time of the first value's tokens is unknown: it is only where counting begins.
            since_start = not point.cumulative or point.start > self._forgotten_at
            added = point.value if since_start else 0.0
            unit = sys.intern(point.unit)
            self._keep(Series(name, unit, point.kind, point.at, point.value, added, (point.at,)))
            return point.start or point.at, added
        if series.at > now + AHEAD_S:  # our own clock was set back meanwhile
            series.at, series.recent = point.at, ()
        if point.at in series.recent or (point.cumulative and point.at < series.at):
            return None, 0.0
        if not point.cumulative:
            since, added = point.start or point.at, point.value
        else:
            since, added = series.at, point.value - series.value
            if added < 0:
                added = point.value
            if added == 0:
                series.at = point.at
                return None, 0.0
        series.at, series.value = max(series.at, point.at), point.value
        series.total += added
        series.recent = (*series.recent[-RECENT + 1 :], point.at)
        return since, added


def of_kind(kind: Kind, count: float) -> Tokens:
    """Tokens of one kind."""
    return replace(Tokens(), **{kind: count})


def _merged(so_far: tuple[Used, float] | None, point: Point, since: float, added: float) -> tuple[Used, float]:
    """Add one point's tokens to its unit's; the model is that of the largest part."""
    tokens = of_kind(point.kind, added)
    if so_far is None:
        return Used(point.unit, since, point.at, point.model, tokens), added
    used, largest = so_far
    model = point.model if added > largest else used.model
    start, at = min(used.start, since), max(used.at, point.at)
    return Used(used.unit, start, at, model, used.tokens + tokens), max(largest, added)
