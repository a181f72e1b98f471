"""Claude Code's metrics: the names that they go by in Prometheus, and how they are selected. Pure.

Each road into Prometheus names a metric in its own way: `claude_code.token.usage` stays as it is, or its dots become
underscores, its unit and `total` are put behind it, a collector's namespace before it. One pattern per metric knows
them all. The session's label is `session_id` or `session.id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.counting.blocks import FIVE_HOURS_S
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus.client import PrometheusClient, TroubleError
from claude_gauge.sources.prometheus.increments import Increment, Reader


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


SESSION_LABELS = ("session_id", "session.id")
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter: our name for it, its unit, Claude Code's name as a pattern, and the labels worth telling apart."""

    name: str
    unit: str
    stem: str
    by: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """Match every name that it goes by, as a regular expression of Prometheus's kind (anchored) and of ours."""
        return f"([^:]+[._])?{self.stem}([._]total)?"

    @property
    def selector(self) -> str:
        """Select its series under any of its names."""
        return f'{{__name__=~"{self.pattern}"}}'


TOKENS = Metric("tokens", "tokens", "claude_code[._]token[._]usage([._]tokens)?", ("type", "model"))
METRICS = (
    TOKENS,
    Metric("cost", "USD", "claude_code[._]cost[._]usage([._]USD)?", ("model",)),
    Metric("sessions", "", "claude_code[._]session[._]count"),
    Metric("active_time", "s", "claude_code[._]active_time([._]total)?([._](seconds|s))?", ("type",)),
    Metric("lines_of_code", "", "claude_code[._]lines_of_code[._]count", ("type",)),
    Metric("commits", "", "claude_code[._]commit[._]count"),
    Metric("pull_requests", "", "claude_code[._]pull_request[._]count"),
    Metric(
        "edit_decisions",
        "",
        "claude_code[._]code_edit_tool[._]decision([._]count)?",
        ("tool_name", "decision", "language"),
    ),
)


def session(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the session's label and its text; ("session_id", "") where no label tells it."""
    for label in SESSION_LABELS:
        if labels.get(label):
            return label, labels[label]
    return SESSION_LABELS[0], ""


def select(name: str, *matches: str) -> str:
    """Select the series of exactly this name that all the matchers take."""
    return narrowed(f"{{__name__={json.dumps(name)}}}", *matches)


def narrowed(selector: str, *matches: str) -> str:
    """Narrow a selector down; a matcher may stand in braces."""
    return "{" + ",".join(filter(None, (each.strip(" {},") for each in (selector, *matches)))) + "}"


def one_of(label: str, texts: Iterable[str]) -> str:
    """Match a label that has one of these texts, taken literally; the empty text matches series without the label."""
    pattern = "|".join(_escaped(text) for text in sorted(texts))
    quoted = label if _PLAIN.fullmatch(label) else json.dumps(label)
    return f"{quoted}=~{json.dumps(pattern, ensure_ascii=False)}"


def _escaped(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-_ " else "\\" + char for char in text)
