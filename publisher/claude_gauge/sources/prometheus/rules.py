"""Recording rules: the gauges and all metrics as ready series, for dashboards and alerts. Pure.

`broker/telemetry/rules.yml` is this text; a test holds it to that. Every sum reads `claude_gauge:<metric>:added`, what
came in since the evaluation before; so all windows, five minutes or a month, count the same tokens.
"""

from __future__ import annotations

import textwrap

from claude_gauge.sources.prometheus.names import METRICS, Metric

_HEAD = """\
# Written by `claude-gauge otel rules`: Claude Code's metrics as series that Grafana and alerts can read.
#
# For each metric:
#   claude_gauge:<metric>:counter   its series, under one name and with one label for the session, whatever the engine
#                                   calls them
#   claude_gauge:<metric>:added     what came in since the evaluation before: the rise; or, where a series is new or has
#                                   started again from 0, all that it holds
#   claude_gauge:<metric>:counted   what the counter held then: an engine may show what it recorded a moment later
#   claude_gauge:<metric>:added5h   the sum of `added` over 5 hours; `added7d` over 7 days
#
# For any other window use sum_over_time(claude_gauge:<metric>:added[1d]): increase() loses each session's beginning.
# What running sessions hold when the rules are first loaded counts as of then. `interval: 15s` is the scrape interval.
groups:
"""

_BLOCK = """\
# The 5-hour block begins with the first use, at the full hour before it (the rule that ccusage follows).
- record: claude_gauge:block:start
  expr: |
    max(last_over_time(claude_gauge:block:start[5h] offset 1s)) > time() - 5 * 3600
    or
    vector(time() - time() % 3600) and on() (sum(claude_gauge:tokens:added) > 0)
- record: claude_gauge:block:tokens
  expr: |
    (
      (sum(claude_gauge:tokens:added) or vector(0))
      +
      (
        max(last_over_time(claude_gauge:block:tokens[5h] offset 1s))
        and on() (max(last_over_time(claude_gauge:block:start[5h] offset 1s)) == on() claude_gauge:block:start)
        or vector(0)
      )
    )
    and on() claude_gauge:block:start

# The gauges. 0 where nothing came in; nothing at all where no token was seen in 8 days: unknown is not 0.
- record: claude_gauge:window_5h_tokens
  expr: |
    claude_gauge:block:tokens
    or
    0 * sum(last_over_time(claude_gauge:tokens:added[8d]))
- record: claude_gauge:window_5h_resets_at # epoch seconds
  expr: claude_gauge:block:start + 5 * 3600
- record: claude_gauge:tokens:added1m # the newest four evaluations
  expr: sum by (type, model) (sum_over_time(claude_gauge:tokens:added[59s]))
- record: claude_gauge:tokens:added5m
  expr: sum by (type, model) (sum_over_time(claude_gauge:tokens:added[4m59s]))
- record: claude_gauge:rate_1m
  expr: |
    sum(claude_gauge:tokens:added1m)
    or
    0 * sum(last_over_time(claude_gauge:tokens:added[8d]))
- record: claude_gauge:cache_hit_rate
  expr: |
    sum(claude_gauge:tokens:added5m{type="cacheRead"})
    /
    (sum(claude_gauge:tokens:added5m{type=~"input|cacheRead|cacheCreation"}) > 0)
- record: claude_gauge:model:newest_at # when each model's tokens last came in, epoch seconds
  expr: |
    0 * (sum by (model) (claude_gauge:tokens:added) > 0) + time()
    or
    max by (model) (last_over_time(claude_gauge:model:newest_at[8d] offset 1s))
- record: claude_gauge:newest_at
  expr: max(claude_gauge:model:newest_at)
"""


def text() -> str:
    """Write the rules file."""
    fast = "\n".join(_added(metric) for metric in METRICS) + "\n" + _BLOCK
    slow = "".join(_sums(metric, window) for window in ("5h", "7d") for metric in METRICS)
    return _HEAD + _group("claude_gauge", "15s", fast) + _group("claude_gauge_sums", "1m", slow)


def _group(name: str, interval: str, rules: str) -> str:
    return f"  - name: {name}\n    interval: {interval}\n    rules:\n{textwrap.indent(rules, '      ')}"


def _by(metric: Metric) -> str:
    return f"sum by ({', '.join(metric.by)})" if metric.by else "sum"


def _added(metric: Metric) -> str:
    counter, counted = f"claude_gauge:{metric.name}:counter", f"claude_gauge:{metric.name}:counted"
    return f"""\
- record: {counter}
  expr: |
    label_replace(
      label_replace(
        {metric.selector},
        "counter", "$1", "__name__", "(.+)"
      ),
      "session_id", "$1", "session.id", "(.+)"
    )
- record: claude_gauge:{metric.name}:added
  expr: |
    {_by(metric)} (
      {counter}
      -
      (last_over_time({counted}[8d] offset 1s) <= {counter})
      or
      {counter}
    )
- record: {counted}
  expr: {counter}
"""


def _sums(metric: Metric, window: str) -> str:
    return f"""\
- record: claude_gauge:{metric.name}:added{window}
  expr: {_by(metric)} (sum_over_time(claude_gauge:{metric.name}:added[{window}]))
"""
