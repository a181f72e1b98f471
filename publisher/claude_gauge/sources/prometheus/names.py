"""Claude Code's metrics: the names that they go by in Prometheus, and how they are selected. Pure.

Each road into Prometheus names a metric in its own way: `claude_code.token.usage` stays as it is, or its dots become
underscores, its unit and `total` are put behind it, a collector's namespace before it. One pattern per metric knows
them all. The session's label is `session_id` or `session.id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SESSION_LABELS = ("session_id", "session.id")
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter: our name for it, its unit, Claude Code's name as a pattern, and the labels to show."""

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
    """Return the session's label and its text; ("session_id", "") where no label has it."""
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
