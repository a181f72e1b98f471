from __future__ import annotations

from claude_gauge.contract.needle import Pace
from claude_gauge.contract.usage import Usage
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Reading, Tokens, Traffic


def _usage(tokens: int = 0, now: float = 1_763_900_000.0) -> Usage:
    return derive(Reading(traffic=Traffic(minute=Tokens(output=tokens), newest_at=now)), Limits(), now)


def _sent(usage: Usage, at: float) -> Pace:
    pace = Pace()
    pace.sent(usage, at)
    return pace


def test_first_payload_goes_at_once() -> None:
    """Nothing was sent yet: send."""
    assert Pace().wants(_usage(), 0)
    assert Pace().wait(_usage(), 0) == 0


def test_change_goes_at_once_but_ten_a_second() -> None:
    """A visible change goes out as soon as a tenth of a second has passed since the last one."""
    pace = _sent(_usage(1), 100)

    assert not pace.wants(_usage(2), 100.05)
    assert 0.04 < pace.wait(_usage(2), 100.05) < 0.051
    assert pace.wants(_usage(2), 100.11)


def test_unchanged_payload_waits_for_the_heartbeat() -> None:
    """Nothing visible changed: every 15 s, so that a reader can tell a quiet host from a dead one."""
    pace = _sent(_usage(1), 100)

    assert not pace.wants(_usage(1, now=1_763_900_014.0), 114)
    assert pace.wait(_usage(1, now=1_763_900_014.0), 114) == 1
    assert pace.wants(_usage(1, now=1_763_900_015.0), 115)
