"""Recording rules: the gauges and all metrics as ready series, for dashboards and alerts. Pure.

`broker/telemetry/rules.yml` is this text; a test holds it to that.
"""

from __future__ import annotations

import json

from claude_gauge.sources.prometheus import promql
from claude_gauge.sources.prometheus.other_metrics import METRICS, Metric

_RESTART_BEFORE = "10m"  # rules run for ever: cheap, and enough where a collector shows each session for a day
_HEAD = """\
# Written by `claude-gauge otel rules`: the gauges, and every metric of Claude Code, exact where increase() is not.
"""


def text() -> str:
    """Write the rules file."""
    tokens = METRICS[0]
    fast = [(f"claude_gauge:tokens:added{window}", _added(tokens, window, "15s")) for window in ("1m", "5m")]
    fast += [
        ("claude_gauge:rate_1m", "sum(claude_gauge:tokens:added1m) or vector(0)"),
        (
            "claude_gauge:cache_hit_rate",
            f"{_five('cacheRead')} / ({_five('input|cacheRead|cacheCreation')} > 0)",
        ),
    ]
    hours = [(f"claude_gauge:{metric.name}:added5h", _added(metric, "5h", "15s")) for metric in METRICS]
    week = [(f"claude_gauge:{metric.name}:added7d", _added(metric, "7d", "1m")) for metric in METRICS]
    groups = [("claude_gauge", "15s", fast), ("claude_gauge_5h", "1m", hours), ("claude_gauge_7d", "5m", week)]
    return _HEAD + "groups:\n" + "".join(_group(*each) for each in groups)


def _five(kinds: str) -> str:
    return f'sum(claude_gauge:tokens:added5m{{type=~"{kinds}"}})'


def _added(metric: Metric, window: str, step: str) -> str:
    counter = promql.selector(metric.names)
    by = f"by ({', '.join(metric.by)}) " if metric.by else ""
    added = f"sum {by}({promql.added(counter, window, promql.LONG_BEFORE)})"
    return f"{added} + (sum {by}({promql.restarted(counter, window, step, _RESTART_BEFORE)}) or {added} * 0)"


def _group(name: str, interval: str, rules: list[tuple[str, str]]) -> str:
    lines = [f"  - name: {name}", f"    interval: {interval}", "    rules:"]
    for record, expression in rules:
        lines += [f"      - record: {record}", f"        expr: {json.dumps(expression)}"]
    return "\n".join(lines) + "\n"
