"""Prometheus, or an engine with its API, as a source; its other metrics (cost, sessions, lines) for `show --all`."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block, Health, Reading, Tokens, earliest
from claude_gauge.counting.sums import FIVE_HOURS_S, FIVE_MINUTES_S, WEEK_S, Blocks, Window
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus.client import DEFAULT_URL, TIMEOUT_S, PrometheusClient, TroubleError
from claude_gauge.sources.prometheus.increments import CounterReader, Increment
from claude_gauge.sources.prometheus.names import METRICS, TOKENS, Metric
from claude_gauge.sources.source import Polled, every
from claude_gauge.system.urls import shown

log = logging.getLogger(__name__)

NAME = "prometheus"
NO_THINKING = "metrics have no thinking"
AGAIN_S = 3600.0
NAMES_S = 300.0
RENAME = (
    "rename it in the collector, or record it as claude_code_token_usage_tokens_total with its labels type, model "
    "and session_id"
)
_KINDS = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheCreation": "cache_creation"}


class Count:
    """What came in since the history began, as sums; in the engine's epoch seconds. Its owner locks."""

    def __init__(self) -> None:
        self._window, self._blocks = Window(), Blocks()

    def add(self, increments: list[Increment], now: float) -> None:
        """Count; of several models in one scrape, the one that wrote most is the last."""
        for each in sorted(increments, key=lambda each: (each.at, each.labels.get("type") == "output", each.amount)):
            kind = _KINDS.get(each.labels.get("type", ""))
            if kind is None:
                continue
            self._blocks.add(each.at, round(each.amount))
            self._window.seen(each.at, each.labels.get("model", ""), now)
            if each.at > now - 2 * FIVE_MINUTES_S:
                self._window.add(each.at, Tokens(**{kind: each.amount}))

    def reading(self, now: float) -> Reading:
        """Return the sums."""
        traffic = dataclasses.replace(self._window.traffic(now), thinking="unknown")
        return Reading(traffic=traffic, block=self._blocks.current(now), week_tokens=self._blocks.week(now))

    def due(self, now: float) -> float | None:
        """Return when a sum next changes by the passing of time alone."""
        return earliest(self._window.due(now), self._blocks.current(now).end)

    def past(self, since: float, now: float) -> dict[int, int]:
        """Return the tokens of each minute."""
        return self._blocks.minutes(since, now)


class Poll:
    """Asks `engine` about the token counters that `match` narrows down, and counts.

    The history is read again every hour and counted afresh: for samples that came late, and to forget what is old.
    """

    def __init__(self, engine: PrometheusClient, match: str = "") -> None:
        self._engine, self._match = engine, match
        self._reader = CounterReader(engine, TOKENS, match)
        self._count = Count()
        self._checked_at = self._again_at = -math.inf
        self._found_as = ""
        self._lock = threading.Lock()

    def take(self, now: float) -> Health:
        """Ask once at `now`, by our clock; raises TroubleError, and then keeps the figures that it had."""
        self._engine.learn_clock(now)
        at = float(math.floor(now + self._engine.skew))
        if self._stale(at):
            self._begin(at)
        elif at >= self._again_at:
            self._begin_again(at)
        else:
            self._advance(self._reader, self._count, at)
        return self._health(at)

    def reading(self, now: float) -> Reading:
        """Return the reading, in our clock's times; nothing where the engine never had Claude Code's tokens."""
        skew = self._engine.skew
        with self._lock:
            if not self._reader.counters:
                return Reading()
            sums = self._count.reading(now + skew)
        traffic, block = sums.traffic, sums.block
        if traffic is not None and traffic.newest_at is not None:
            traffic = dataclasses.replace(traffic, newest_at=min(now, traffic.newest_at - skew))
        if block is not None and block.start is not None and block.end is not None:
            block = Block(block.tokens, block.start - skew, block.end - skew)
        return Reading(traffic=traffic, block=block, week_tokens=sums.week_tokens)

    def due(self, now: float) -> float | None:
        """Return when a sum next changes by the passing of time alone."""
        with self._lock:
            due = self._count.due(now + self._engine.skew)
        return None if due is None else due - self._engine.skew

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return the tokens of each minute; None until they are read."""
        with self._lock:
            return (
                self._count.past(since + self._engine.skew, now + self._engine.skew) if self._reader.counters else None
            )

    def _stale(self, at: float) -> bool:
        """Return whether there is no history yet, or one of another clock or of other names."""
        reader = self._reader
        if not reader.used_names or at < reader.until - FIVE_MINUTES_S:
            return True
        if at - self._checked_at > NAMES_S:
            self._checked_at = at
            return reader.names(at) != reader.used_names
        return False

    def _begin(self, at: float) -> None:
        reader, count = CounterReader(self._engine, TOKENS, self._match), Count()
        self._advance(reader, count, at)
        self._checked_at, self._again_at = at, at + AGAIN_S
        with self._lock:
            self._reader, self._count = reader, count

    def _begin_again(self, at: float) -> None:
        try:
            self._begin(at)
        except TroubleError as trouble:
            log.info("Prometheus: the history was not read again: %s", trouble.why)
            self._again_at = at + AGAIN_S
            self._advance(self._reader, self._count, at)

    def _advance(self, reader: CounterReader, count: Count, at: float) -> None:
        def add(increments: list[Increment]) -> None:
            with self._lock:
                count.add(increments, at)

        reader.advance(at, add)

    def _health(self, at: float) -> Health:
        counters = self._reader.counters
        refused = counters.refused.news()
        if refused:
            log.warning("Prometheus: refused %s", refused)
        if not counters:
            return Health(NAME, ok=False, why=self._missing(at))
        why = (
            "sessions share a series" if counters.shared(at)
            else "no session ids: inexact" if counters.anonymous(at)
            else f"{len(counters.refused)} values not believed" if counters.refused
            else ""
        )  # fmt: skip
        return Health(NAME, ok=not why, why=why, degraded=bool(why))

    def _missing(self, at: float) -> str:
        """Return what the engine has in place of the token counter."""
        others = [
            name
            for name in self._engine.names('{__name__=~"(?i).*claude.*"}', at - WEEK_S, at)
            if not name.startswith("claude_gauge:") and not name.endswith(("_created", "_info"))
        ]
        tokens = [name for name in others if "token" in name.lower()]
        if any(re.fullmatch(TOKENS.pattern, name) for name in tokens):
            return "no tokens that match" if self._match else "no Claude Code metrics"
        if not tokens:
            return "other metrics, no tokens" if others else "no Claude Code metrics"
        if tokens[0] != self._found_as:
            self._found_as = tokens[0]
            log.warning("Prometheus has Claude Code's tokens as %s: %s", tokens[0], RENAME)
        return f"found as {tokens[0]}"


class Prometheus:
    """Asks in a thread of its own; what it knows stays when the engine is away, and health says so."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._engine = PrometheusClient(settings, timeout_s, clock)
        self._poll = Poll(self._engine, settings.prometheus_match)
        self._clock = clock
        self._health = Health(NAME, ok=False, why="not asked yet")
        self._newest: Reading | None = None
        self._changed: Callable[[], None] = lambda: None
        self._thread = Polled(NAME, self._round, every(settings.prometheus_interval), ended=self._engine.close)

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to ask; returns after the first answer, two seconds at most."""
        self._changed = changed
        self._thread.start()

    def load(self) -> None:
        """Ask once, now, without a thread."""
        self._round()
        self._engine.close()

    def read(self, now: float) -> Reading:
        """Return the figures of the newest answered round."""
        health = self._health
        thinking = Health(NAME, ok=False, why=NO_THINKING, degraded=True)
        sources = {"tach": health, "fuel": health, "thinking": thinking}
        return dataclasses.replace(self._poll.reading(now), sources=sources)

    def due(self, now: float) -> float | None:
        """Return when a sum next changes by the passing of time alone."""
        return self._poll.due(now)

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return the tokens of each minute; None until they are read."""
        return self._poll.past(since, now)

    def stop(self) -> None:
        """End the thread."""
        self._thread.stop(2)

    def _round(self) -> None:
        now = self._clock()
        try:
            health = self._poll.take(now)
        except TroubleError as trouble:
            health = Health(NAME, ok=False, why=trouble.why)
        except Exception:  # nothing may end the polling: logged in full, then it goes on
            log.exception("asking Prometheus failed; going on with the next round")
            health = Health(NAME, ok=False, why="internal error, see the log")
        if health != self._health:
            log.log(logging.INFO if health.ok else logging.WARNING, "Prometheus: %s", health.why or "answers")
        reading = self._poll.reading(now)
        news = health != self._health or reading != self._newest
        self._health, self._newest = health, reading
        if news:
            self._changed()


@dataclass(frozen=True, slots=True)
class MetricFigure:
    """One sum of one metric: which labels (`cli`, `opus`, ...), and what came in during 5 hours and 7 days."""

    metric: Metric
    labels: tuple[str, ...]
    five_hours: float
    week: float


def figures(settings: Settings, now: float, clock: Callable[[], float] | None = None) -> list[MetricFigure]:
    """Ask for every metric's sums of the last 5 hours and 7 days; raises GaugeError where Prometheus has no answer."""
    engine = PrometheusClient(settings) if clock is None else PrometheusClient(settings, clock=clock)
    with closing(engine):
        try:
            engine.learn_clock(now)
            return [figure for metric in METRICS for figure in _sums(metric, engine, settings.prometheus_match, now)]
        except TroubleError as trouble:
            where = shown(settings.prometheus or DEFAULT_URL)
            raise GaugeError(f"Prometheus at {where}: {trouble.why}; check --prometheus and what it serves") from None


def _sums(metric: Metric, engine: PrometheusClient, match: str, now: float) -> list[MetricFigure]:
    week: dict[tuple[str, ...], float] = {}
    hours: dict[tuple[str, ...], float] = {}
    at = now + engine.skew

    def add(increments: list[Increment]) -> None:
        for each in increments:
            labels = tuple(each.labels.get(name, "") for name in metric.by)
            week[labels] = week.get(labels, 0.0) + each.amount
            hours[labels] = hours.get(labels, 0.0) + (each.amount if each.at > at - FIVE_HOURS_S else 0.0)

    CounterReader(engine, metric, match).advance(at, add)
    return [MetricFigure(metric, labels, hours[labels], week[labels]) for labels in sorted(week)]


def lines(listed: list[MetricFigure]) -> list[str]:
    """Write them as a table for people."""
    rows = [("", "5 hours", "7 days")]
    for figure in listed:
        labels = ", ".join(label for label in figure.labels if label)
        name = f"{figure.metric.name} ({labels})" if labels else figure.metric.name
        unit = figure.metric.unit
        rows.append((name, _shown(figure.five_hours, unit), _shown(figure.week, unit)))
    return [f"{name:44} {hours:>14} {week:>14}" for name, hours, week in rows]


def _shown(value: float, unit: str) -> str:
    if unit == "USD":
        return f"{value:,.2f} USD"
    if unit == "s":
        return f"{value / 60:,.1f} min"
    return f"{value:,.0f}"
