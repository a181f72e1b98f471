"""What Prometheus is asked; exact where `increase()` is not. Pure.

`increase()` loses a series' first sample (each of Claude Code's sessions starts new series, with tokens in them
already) and extrapolates. What is added in a window is the last value, less the value before the window: nothing
for a series born inside. Where a counter started again from 0, its value before that is added.

Every expression is one of PromQL's oldest: nothing here needs a newer engine than Prometheus 2.26.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

TOKENS = ("claude_code_token_usage_tokens_total", "claude_code_token_usage_total")
BEFORE = "1h"  # how far before a window its base is looked for
LONG_BEFORE = "8d"  # the same after a gap: a machine that slept, a Prometheus that was away
HISTORY_BEFORE = "1d"


def selector(names: Iterable[str], *matches: str) -> str:
    """Select the series of any of these names: each road into Prometheus names a metric in its own way."""
    wanted = f'__name__=~"{"|".join(names)}"'
    return "{" + ",".join(filter(None, [wanted, *(match.strip(" {},") for match in matches)])) + "}"


def sessions(names: Iterable[str]) -> str:
    """Match these sessions; the empty name matches series that tell none."""
    pattern = "|".join(_quoted(name) for name in sorted(names))
    return f"session_id=~{json.dumps(pattern, ensure_ascii=False)}"


def _quoted(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_ " else "\\" + char for char in name)


def added(counter: str, window: str, before: str = BEFORE) -> str:
    """Ask what each series added in the window; restarts apart, see `restarted`."""
    last = f"last_over_time({counter}[{window}])"
    return f"({last} - (last_over_time({counter}[{before}] offset {window}) or {last} * 0))"


def born(counter: str, window: str, before: str = BEFORE) -> str:
    """Ask for the series that have no value before the window."""
    return f"(last_over_time({counter}[{window}]) unless last_over_time({counter}[{before}] offset {window}))"


def orphaned(counter: str, window: str) -> str:
    """Ask for the series that seem born in the window and are older: a gap hides their base."""
    return f"({born(counter, window)} and last_over_time({counter}[{LONG_BEFORE}] offset {window}))"


def broken(counter: str, window: str, before: str = BEFORE) -> str:
    """Ask how often a session's series started again in the window; 0 where that happened at its very beginning."""
    below = f"min_over_time({counter}[{window}]) < last_over_time({counter}[{before}] offset {window})"
    return f"max by (session_id) (resets({counter}[{window}]) > 0 or 0 * ({below}))"


def restarted(counter: str, window: str, step: str, before: str) -> str:
    """Ask what each series had reached before it started again; `step` is at most the scrape interval."""
    return f"sum_over_time((last_over_time({counter}[{before}] offset {step}) > {counter})[{window}:{step}])"


def changed(counter: str, step: str, before: str = HISTORY_BEFORE) -> str:
    """Ask, as a range query in such steps, what each model's series moved by; nothing where none moved."""
    return f"sum by (model) (abs({counter} - (last_over_time({counter}[{before}] offset {step}) or {counter} * 0))) > 0"


def tagged(expression: str, tag: str) -> str:
    """Mark all of an answer, so that many questions travel as one."""
    return f'label_replace({expression}, "ask", "{tag}", "", "")'


def together(questions: dict[str, str]) -> str:
    """Make one question of many; the label `ask` tells the answers apart."""
    return " or ".join(tagged(expression, tag) for tag, expression in questions.items())


def seconds(amount: float) -> str:
    """Write a duration, whole seconds, at least one."""
    return f"{max(1, round(amount))}s"
