"""When tokens came in, and how many: worked out from the counters that Prometheus scraped.

`increase()` does not: it loses what a series holds at its first sample (each session of Claude Code starts new
series, with tokens in them already) and it extrapolates. Here every series is followed sample by sample instead, and
each rise is one `Increment`: a time, an amount, the series' labels. The last minute, the 5-hour block and the 7 days
are sums of the same increments, so they cannot contradict each other.

A series is in one of these states:

    state     next sample             what came in
    unknown   any value v             v: what it held before it was first seen counts as of that moment
    known v0  v >= v0                 v - v0, however long it was absent (a machine slept, an engine was away)
    known v0  v < v0: started again   v: its process was resumed and counts from 0
    shared    v                       v less the highest value so far, never less than 0

`shared`: it started again and soon came back to just above where it was, so often in five minutes that two processes
seem to write to it in turns, which no query can count. Twice is enough where no session id keeps sessions apart; with
one, short processes of a resumed session look alike, and it takes four times. The state ends after an hour without.

What may arrive: samples in any order between series, in order within one; a sample that is not newer than the last
known one of its series is a repetition, and ignored. So the same time may be asked for twice.

What is asked, for each name that the counter goes by:

 1. base, once: the last value of each series in the 8 days before the history begins
 2. history, once, and after a gap: in steps of a minute, each series' value at the end of every minute in which it
    changed or appeared. Where it started again within a minute, that minute's samples are fetched one by one
 3. news, each round: which series changed since the last round; and the samples of those sessions, from two minutes
    before it on, for what arrived late
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from claude_gauge.contract import plan_window
from claude_gauge.counting.sums import FIVE_HOURS_S, WEEK_S
from claude_gauge.sources.prometheus.client import QueryResult, Sample, TroubleError
from claude_gauge.sources.prometheus.names import Metric, narrowed, one_of, select, session

log = logging.getLogger(__name__)

BASE = "8d"
KEEP_S = WEEK_S + 43200.0  # in steps of a minute as many as an engine answers at once: 11,000
_STEP_S, _DAY_S = 60.0, 86400.0
_LATE_S = 120.0
_GAP_S = 600.0  # news may be this old; what is older is history
_RETURN_S, _SHARED_S = 300.0, 3600.0
_SPAN_S = 6 * 3600.0  # samples of at most so long are fetched at once
_MANY = 50  # sessions in one question

Key = tuple[tuple[str, str], ...]


class Engine(Protocol):
    """What answers the questions: `client.PrometheusClient`."""

    def now(self, query: str, at: float) -> QueryResult:
        """Ask for the present values, or for samples."""

    def range(self, query: str, start: float, end: float, step: float) -> QueryResult:
        """Ask for the values between two times."""

    def names(self, selector: str, start: float, end: float) -> list[str]:
        """Ask for the names of metrics."""


@dataclass(frozen=True, slots=True)
class Increment:
    """What came in: the time in the engine's epoch seconds, the amount, and the labels of its series."""

    at: float
    amount: float
    labels: Mapping[str, str]


@dataclass(slots=True)
class ScrapedSeries:
    """One series; see the module for its states."""

    at: float
    value: float
    highest: float
    dropped_at: float = -math.inf
    dropped_from: float = 0.0
    most_returns: int = 3
    returns: list[float] = field(default_factory=list)

    def take(self, at: float, value: float) -> float:
        """Take the next sample and return what came in; 0 for one that is not newer."""
        if at <= self.at:
            return 0.0
        before, self.at, self.value = self.value, at, value
        if value < before:
            self.dropped_at, self.dropped_from = at, before
        elif self._returned(at, before, value):
            self.returns = [*(each for each in self.returns if at - each < _RETURN_S), at]
        above, self.highest = max(0.0, value - self.highest), max(value, self.highest)
        if self.shared(at):
            return above
        return value if value < before else value - before

    def _returned(self, at: float, before: float, value: float) -> bool:
        """Return whether it jumped back to where it was before it started again."""
        low, high = before, self.dropped_from
        return at - self.dropped_at <= _LATE_S and low < high <= value <= high + (high - low) / 10

    def shared(self, now: float) -> bool:
        """Return whether two processes write to it in turns."""
        return len(self.returns) > self.most_returns and now - self.returns[-1] < _SHARED_S


class Counters:
    """All series of one metric; pure."""

    def __init__(self) -> None:
        self._series: dict[Key, ScrapedSeries] = {}
        self.refused = plan_window.Refused()

    def __len__(self) -> int:
        return len(self._series)

    def knows(self, key: Key) -> bool:
        """Return whether a series was seen before."""
        return key in self._series

    def shared(self, now: float) -> bool:
        """Return whether two processes write to one series in turns."""
        return any(each.shared(now) for each in self._series.values())

    def anonymous(self, now: float) -> bool:
        """Return whether a series that moved in the last 5 hours names no session, so that several may write to it."""
        return any(now - each.at < FIVE_HOURS_S and not session(dict(key))[1] for key, each in self._series.items())

    def base(self, samples: Iterable[Sample], at: float) -> None:
        """Remember what series held before `at`: nothing of it counts."""
        for each in samples:
            if plan_window.tokens(each.value):
                self._series[_key(each.labels)] = _series(each, at)

    def feed(self, samples: Iterable[tuple[Sample, float]]) -> list[Increment]:
        """Take samples, in order per series, each with the time at which its tokens count."""
        increments = []
        for each, used_at in samples:
            if not plan_window.tokens(each.value):
                self.refused.add("impossible counters")
                continue
            key = _key(each.labels)
            series = self._series.get(key)
            if series is None:
                self._series[key] = _series(each, each.at)
                amount = each.value
            else:
                amount = series.take(each.at, each.value)
            if amount > 0:
                increments.append(Increment(used_at, amount, each.labels))
        return increments


class CounterReader:
    """Follows one metric of an engine; `match` narrows down its series. Raises TroubleError, and goes on from there."""

    def __init__(self, engine: Engine, metric: Metric, match: str = "") -> None:
        self._engine = engine
        self._metric = metric
        self._match = match
        self.used_names: list[str] = []  # those that the counter has
        self.counters = Counters()
        self.begun = self.until = -math.inf

    def names(self, at: float) -> list[str]:
        """Ask under which names the engine has the metric."""
        return self._engine.names(narrowed(self._metric.selector, self._match), at - WEEK_S - _DAY_S, at)

    def advance(self, at: float, sink: Callable[[list[Increment]], None]) -> None:
        """Read on until `at`, in the engine's whole epoch seconds, and hand what came in to `sink`, part by part."""
        if self.until == -math.inf:
            self.used_names = self.names(at)
            self._begin(at)
        if at - self.until > _GAP_S:
            edge = at - _GAP_S / 2
            self._history(_minute(edge), sink)
        if at > self.until:
            self._news(at, sink)

    def _begin(self, at: float) -> None:
        start = _minute(at - KEEP_S)
        for name in self.used_names:
            query = f"last_over_time({select(name, self._match)}[{BASE}])"
            try:
                self.counters.base(self._now(name, query, start), start)
            except TroubleError as trouble:
                if not trouble.heavy:
                    raise
                log.info("Prometheus has nothing from before the last 8 days: %s", trouble.why)
        self.begun, self.until = at, start

    def _history(self, end: float, sink: Callable[[list[Increment]], None]) -> None:
        try:
            self._piece(end, sink)
        except TroubleError as trouble:
            if not trouble.heavy or end - self.until <= _DAY_S:
                raise
            while self.until < end:  # day by day, then
                self._piece(min(end, _minute(self.until) + _DAY_S), sink)

    def _piece(self, end: float, sink: Callable[[list[Increment]], None]) -> None:
        ends = [each for name in self.used_names for each in self._minutes(name, end)]
        sink(self.counters.feed(ends))
        self.until = end

    def _minutes(self, name: str, end: float) -> list[tuple[Sample, float]]:
        """Return the values at the end of each minute with news, and all samples of minutes with a new start."""
        points, broken = self._points(name, end)
        singles = self._singles(name, broken)
        spans = {(_key(each.labels), math.ceil(each.at / _STEP_S)) for each in singles}
        points = [each for each in points if (_key(each.labels), round(each.at / _STEP_S)) not in spans]
        # What a full minute's step shows came in during that minute: the same hour, whatever the second.
        timed = [(each, each.at - _STEP_S / 2) for each in points] + [(each, _used(each.at)) for each in singles]
        return sorted(timed, key=lambda pair: (pair[0].at, pair[0].value))

    def _points(self, name: str, end: float) -> tuple[list[Sample], list[Sample]]:
        """Return the values at the end of each minute with news, and those of minutes that have to be looked into."""
        counter = select(name, self._match)
        minute, before = f"last_over_time({counter}[60s])", f"{counter} offset 60s"
        asked = {
            "moved": f"{minute} != {before}",
            "born": f"{minute} unless {before}",
            "broken": f"resets({counter}[2m]) > 0",  # across the minute's beginning, too
        }
        query = " or ".join(f'label_replace({each}, "ask", "{tag}", "", "")' for tag, each in asked.items())
        answer = self._engine.range(query, _minute(self.until) + _STEP_S, end, _STEP_S)
        points: list[Sample] = []
        broken: list[Sample] = []
        born: set[Key] = set()
        for each in _whole(answer):
            labels = {**each.labels, "__name__": name}
            tag = labels.pop("ask", "")
            sample, key = Sample(labels, each.at, each.value), _key(labels)
            came_back = tag == "born" and (key in born or self.counters.knows(key))
            if tag == "broken" or came_back:
                broken.append(sample)
            if tag != "broken":
                points.append(sample)
            if tag == "born":
                born.add(key)
        return points, broken

    def _singles(self, name: str, broken: list[Sample]) -> list[Sample]:
        """Fetch the samples of these series' sessions one by one, in the minutes that end at these times."""
        samples: list[Sample] = []
        minutes = sorted({each.at for each in broken})
        while minutes:
            end = max(each for each in minutes if each - minutes[0] < _SPAN_S)
            some = [each for each in broken if minutes[0] <= each.at <= end]
            samples += self._samples(name, some, minutes[0] - _STEP_S, end)
            minutes = [each for each in minutes if each > end]
        return samples

    def _news(self, at: float, sink: Callable[[list[Increment]], None]) -> None:
        since = self.until - _LATE_S
        window = f"{max(1, round(at - since))}s"
        pairs: list[tuple[Sample, float]] = []
        for name in self.used_names:
            counter = select(name, self._match)
            last, before = f"last_over_time({counter}[{window}])", f"last_over_time({counter}[5m] offset {window})"
            moved = self._now(name, f"({last} unless ({last} == {before})) or (changes({counter}[{window}]) > 0)", at)
            pairs += [(each, _used(each.at)) for each in self._samples(name, moved, since, at)]
        sink(self.counters.feed(sorted(pairs, key=lambda pair: pair[0].at)))
        self.until = at

    def _samples(self, name: str, some: Iterable[Sample], start: float, end: float) -> list[Sample]:
        """Fetch the samples after `start` and until `end` of the sessions that these samples are of."""
        sessions: dict[str, set[str]] = {}
        for each in some:
            label, text = session(each.labels)
            sessions.setdefault(label, set()).add(text)
        samples: list[Sample] = []
        for label, texts in sessions.items():
            ordered = sorted(texts)
            for first in range(0, len(ordered), _MANY):
                narrow = one_of(label, ordered[first : first + _MANY])
                query = f"{select(name, self._match, narrow)}[{round(end - start)}s]"
                samples += self._now(name, query, end)
        return [each for each in samples if start < each.at <= end]

    def _now(self, name: str, query: str, at: float) -> list[Sample]:
        answer = self._engine.now(query, at)
        return [Sample({**each.labels, "__name__": name}, each.at, each.value) for each in _whole(answer)]


def _series(first: Sample, at: float) -> ScrapedSeries:
    return ScrapedSeries(at, first.value, first.value, most_returns=3 if session(first.labels)[1] else 1)


def _whole(answer: QueryResult) -> tuple[Sample, ...]:
    if answer.partial:
        raise TroubleError("answer is partial")  # what is missing would look as if it had never come in
    return answer.samples


def _minute(at: float) -> float:
    return at - at % _STEP_S


def _used(scraped_at: float) -> float:
    """Return when tokens came in at the latest that a scrape shows: what it shows at a full hour is the old hour's."""
    return scraped_at - 0.001


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))
