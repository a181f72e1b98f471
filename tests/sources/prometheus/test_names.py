"""Names and labels as every road into Prometheus writes them."""

from __future__ import annotations

import re

import pytest

from claude_gauge.sources.prometheus.names import METRICS, TOKENS, one_of, select, session

NAMES = {
    "tokens": [
        "claude_code_token_usage_tokens_total",
        "claude_code_token_usage_total",
        "claude_code_token_usage_tokens",
        "claude_code_token_usage",
        "claude_code.token.usage",
        "claude_code.token.usage_tokens_total",
        "claude_code.token.usage_total",
        "team_a_claude_code_token_usage_tokens_total",
        "team.claude_code.token.usage",
    ],
    "cost": ["claude_code_cost_usage_USD_total", "claude_code_cost_usage_total", "claude_code.cost.usage_USD_total"],
    "sessions": ["claude_code_session_count_total", "claude_code_session_count", "claude_code.session.count"],
    "active_time": [
        "claude_code_active_time_seconds_total",
        "claude_code_active_time_total_seconds_total",
        "claude_code_active_time_total",
        "claude_code.active_time.total",
        "claude_code.active_time.total_seconds_total",
        "claude_code_active_time_total_seconds",
        "claude_code.active_time.total_s_total",
    ],
    "lines_of_code": ["claude_code_lines_of_code_count_total", "claude_code.lines_of_code.count"],
    "commits": ["claude_code_commit_count_total", "claude_code.commit.count_total"],
    "pull_requests": ["claude_code_pull_request_count_total", "claude_code.pull_request.count"],
    "edit_decisions": [
        "claude_code_code_edit_tool_decision_count_total",
        "claude_code_code_edit_tool_decision_total",
        "claude_code.code_edit_tool.decision",
    ],
}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names(metric: object) -> None:
    """Each name is known as this metric's and no other's."""
    found = {
        name: [each.name for each in METRICS if re.fullmatch(each.pattern, name)]
        for name in NAMES[metric.name]  # type: ignore[attr-defined]
    }

    assert found == {name: [metric.name] for name in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["claude_gauge:tokens:counter", "claude_code_token_usage_tokens_created", "x:claude_code_token_usage_total"]
)
def test_foreign_names(name: str) -> None:
    """What is recorded from the counter, by us or others, is not taken for another counter."""
    assert re.fullmatch(TOKENS.pattern, name) is None


def test_select() -> None:
    """A name as it is, and the person's own matchers, with braces or without."""
    assert select("a.b") == '{__name__="a.b"}'
    assert select("a", ' {user="x"} ') == '{__name__="a",user="x"}'
    assert select("a", '{x="1"},', 'y="2"') == '{__name__="a",x="1",y="2"}'


def test_sessions_are_taken_literally() -> None:
    """A session's name is matched as it stands, whatever it holds; a label with a dot is quoted."""
    assert one_of("session_id", ["b", "a"]) == 'session_id=~"a|b"'
    assert one_of("session_id", ['.*"|(\\']) == r'session_id=~"\\.\\*\\\"\\|\\(\\\\"'
    assert one_of("session.id", [""]) == '"session.id"=~""'


def test_session() -> None:
    """Either label names the session."""
    assert session({"session.id": "a", "type": "output"}) == ("session.id", "a")
    assert session({"session_id": "b"}) == ("session_id", "b")
    assert session({"type": "output"}) == ("session_id", "")
