from __future__ import annotations

from claude_gauge.mqtt.outbox import Message
from claude_gauge.mqtt.suspects import CERTAIN, HELD_BACK_S, OversizeGuard

LARGE, SMALL = Message("large", b"x" * 500), Message("small", b"x")


def after(times: int, lasted_s: float = 0.1) -> OversizeGuard:
    """What is suspected after so many connections that ended with both messages unacknowledged."""
    suspects = OversizeGuard()
    for _ in range(times):
        suspects.ended([SMALL, LARGE], lasted_s, 100)
    return suspects


def test_held_back_when_certain() -> None:
    """The largest message of several short connections is held back, the small one is not."""
    assert not after(CERTAIN - 1).holds(LARGE, 100)
    assert after(CERTAIN).holds(LARGE, 100)
    assert not after(CERTAIN).holds(SMALL, 100)


def test_smaller_value_goes_out() -> None:
    """A smaller value of the same topic is not held back."""
    assert not after(CERTAIN).holds(Message("large", b"x" * 50), 100)


def test_not_for_ever() -> None:
    """It is tried again later: the broker may have been mended."""
    assert not after(CERTAIN).holds(LARGE, 100 + HELD_BACK_S)


def test_long_connections_are_no_evidence() -> None:
    """A connection that held, or that ended with nothing on the way, accuses no message."""
    suspects = after(CERTAIN * 2, lasted_s=60)
    for _ in range(CERTAIN):
        suspects.ended([], 0.1, 100)

    assert not suspects.holds(LARGE, 100)
