from __future__ import annotations

import pytest

from claude_gauge.system.file_events import AGAIN_S, EventHealth


def test_event_on_its_way_is_not_missing() -> None:
    """A file that a scan finds before its event arrives is no reason for mistrust."""
    trust = EventHealth()
    trust.suspect({"a", "b"})
    trust.hinted("b")
    trust.hinted("a")

    assert not trust.judge(3)
    assert not trust.lost


def test_file_that_nothing_reported_of_loses_trust_once(caplog: pytest.LogCaptureFixture) -> None:
    """Still without an event at the next scan: trust is lost, which is reported once."""
    trust = EventHealth()
    trust.suspect({"a", "b"})
    trust.hinted("b")

    assert trust.judge(3)
    trust.suspect({"a"})
    assert not trust.judge(6)
    assert trust.lost
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_trust_returns_after_a_quiet_minute() -> None:
    """As long as nothing more goes missing for a minute, events are relied on again."""
    trust = EventHealth()
    trust.suspect({"a"})
    trust.judge(3)
    trust.suspect(set())

    assert [(trust.judge(at), trust.lost) for at in (4, 3 + AGAIN_S, 4 + AGAIN_S)] == [
        (False, True),
        (False, True),
        (False, False),
    ]
