"""The questions, word for word."""

from __future__ import annotations

from claude_gauge.sources.prometheus import promql


def test_selector() -> None:
    """All names at once, and the person's own matchers, with braces or without."""
    assert promql.selector(("a", "b")) == '{__name__=~"a|b"}'
    assert promql.selector(("a",), ' {user="x"} ') == '{__name__=~"a",user="x"}'
    assert promql.selector(("a",), '{x="1"},', 'y="2"') == '{__name__=~"a",x="1",y="2"}'


def test_sessions_are_taken_literally() -> None:
    """A session's name is matched as it stands, whatever it holds."""
    assert promql.sessions(["b", "a"]) == 'session_id=~"a|b"'
    assert promql.sessions(['.*"|(\\']) == r'session_id=~"\\.\\*\\\"\\|\\(\\\\"'
    assert promql.sessions([""]) == 'session_id=~""'


def test_seconds() -> None:
    """A window is whole seconds, never none."""
    assert [promql.seconds(each) for each in (0.2, 15, 59.6)] == ["1s", "15s", "60s"]
