"""Claude Code's other metrics: their names on every road into Prometheus, and their sums, asked when wanted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.counting.blocks import FIVE_HOURS_S, WEEK_S
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus import promql
from claude_gauge.sources.prometheus.client import PrometheusClient
from claude_gauge.sources.prometheus.response import TroubleError
from claude_gauge.sources.prometheus.window_sums import WindowSums


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter: what we call it, the names it goes by, and the labels that are worth telling apart."""

    name: str
    unit: str
    names: tuple[str, ...]
    by: tuple[str, ...] = ()


METRICS = (
    Metric("tokens", "tokens", promql.TOKENS, ("type", "model")),
    Metric("cost", "USD", ("claude_code_cost_usage_USD_total", "claude_code_cost_usage_total"), ("model",)),
    Metric("sessions", "", ("claude_code_session_count_total",)),
    Metric(
        "active_time",
        "s",
        (
            "claude_code_active_time_seconds_total",
            "claude_code_active_time_total_seconds_total",
            "claude_code_active_time_total",
        ),
        ("type",),
    ),
    Metric("lines_of_code", "", ("claude_code_lines_of_code_count_total",), ("type",)),
    Metric("commits", "", ("claude_code_commit_count_total",)),
    Metric("pull_requests", "", ("claude_code_pull_request_count_total",)),
    Metric(
        "edit_decisions",
        "",
        ("claude_code_code_edit_tool_decision_count_total", "claude_code_code_edit_tool_decision_total"),
        ("tool_name", "decision", "language"),
    ),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One sum of one metric: which labels (`cli`, `opus`…), and what came in during 5 hours and 7 days."""

    metric: Metric
    labels: tuple[str, ...]
    five_hours: float
    week: float


def more(settings: Settings, now: float, clock: Callable[[], float] | None = None) -> list[Figure]:
    """Ask for every metric's sums of the last 5 hours and 7 days; raises GaugeError where Prometheus can't tell."""
    engine = PrometheusClient(settings) if clock is None else PrometheusClient(settings, clock=clock)
    with closing(engine):
        try:
            engine.now("vector(1)", now)
            return [figure for metric in METRICS for figure in _figures(metric, engine, settings, now + engine.skew)]
        except TroubleError as trouble:
            raise GaugeError(
                f"Prometheus at {settings.prometheus}: {trouble.why}; check --prometheus and what it serves"
            ) from None


def lines(figures: list[Figure]) -> list[str]:
    """Write them as a table for people."""
    rows = [("", "5 hours", "7 days")]
    for figure in figures:
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


def _figures(metric: Metric, engine: PrometheusClient, settings: Settings, at: float) -> list[Figure]:
    sums = WindowSums(
        engine, metric.names, settings.prometheus_match, settings.prometheus_interval, ", ".join(metric.by)
    )
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for window, samples in sums.ask(at, {"5h": FIVE_HOURS_S, "7d": WEEK_S}).items():
        for each in samples:
            labels = tuple(each.labels.get(name, "") for name in metric.by)
            totals = found.setdefault(labels, {})
            totals[window] = totals.get(window, 0.0) + each.value
    return [
        Figure(metric, labels, max(0.0, totals.get("5h", 0.0)), max(0.0, totals.get("7d", 0.0)))
        for labels, totals in sorted(found.items())
    ]
