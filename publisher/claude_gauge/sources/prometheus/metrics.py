"""Every metric of Claude Code as sums of the last 5 hours and 7 days: what `show --all` prints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.counting.blocks import FIVE_HOURS_S
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus.client import PrometheusClient, TroubleError
from claude_gauge.sources.prometheus.increments import Increment, Reader
from claude_gauge.sources.prometheus.names import METRICS, Metric


@dataclass(frozen=True, slots=True)
class Figure:
    """One sum of one metric: which labels (`cli`, `opus`, ...), and what came in during 5 hours and 7 days."""

    metric: Metric
    labels: tuple[str, ...]
    five_hours: float
    week: float


def figures(settings: Settings, now: float, clock: Callable[[], float] | None = None) -> list[Figure]:
    """Ask for every metric's sums of the last 5 hours and 7 days; raises GaugeError where Prometheus can't tell."""
    engine = PrometheusClient(settings) if clock is None else PrometheusClient(settings, clock=clock)
    with closing(engine):
        try:
            engine.learn_clock(now)
            return [figure for metric in METRICS for figure in _sums(metric, engine, settings.prometheus_match, now)]
        except TroubleError as trouble:
            raise GaugeError(
                f"Prometheus at {settings.prometheus}: {trouble.why}; check --prometheus and what it serves"
            ) from None


def _sums(metric: Metric, engine: PrometheusClient, match: str, now: float) -> list[Figure]:
    week: dict[tuple[str, ...], float] = {}
    hours: dict[tuple[str, ...], float] = {}
    at = now + engine.skew

    def add(increments: list[Increment]) -> None:
        for each in increments:
            labels = tuple(each.labels.get(name, "") for name in metric.by)
            week[labels] = week.get(labels, 0.0) + each.amount
            hours[labels] = hours.get(labels, 0.0) + (each.amount if each.at > at - FIVE_HOURS_S else 0.0)

    Reader(engine, metric, match).advance(at, add)
    return [Figure(metric, labels, hours[labels], week[labels]) for labels in sorted(week)]


def lines(found: list[Figure]) -> list[str]:
    """Write them as a table for people."""
    rows = [("", "5 hours", "7 days")]
    for figure in found:
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
