from __future__ import annotations

import json

import pytest
from tests.support.payloads import at_rest

from claude_gauge.contract.freshness import SILENCE_S, Freshness, read, seconds
from claude_gauge.contract.usage import OFFLINE, ONLINE, stamp

NOON = 1_790_000_000.0


def payload(made: float, **more: object) -> bytes:
    """Make a payload's bytes as another version of the publisher could have written them."""
    rest = at_rest(rate_1m=5, updated_at=stamp(made)).model_dump(mode="json", exclude_unset=True)
    return json.dumps({**rest, **more}).encode()


def test_live_until_three_heartbeats_are_missed() -> None:
    """A payload just published is believed for three heartbeats and not longer."""
    received = Freshness()
    received.payload(payload(NOON), NOON, retained=False)

    assert received.stale(NOON + SILENCE_S - 1) == ""
    assert "no heartbeat" in received.stale(NOON + SILENCE_S)


def test_old_retained_payload_is_stale_at_once() -> None:
    """A payload that lay at the broker does not look fresh because it arrived just now."""
    received = Freshness()
    received.payload(payload(NOON - 3600), NOON, retained=True)

    assert "no heartbeat" in received.stale(NOON)


def test_young_retained_payload_keeps_its_age() -> None:
    """A retained payload is believed for what is left of its own three heartbeats."""
    received = Freshness()
    received.payload(payload(NOON - 40), NOON, retained=True)

    assert received.stale(NOON + 4) == ""
    assert received.stale(NOON + 6) != ""


def test_wrong_clock_mends_with_the_next_heartbeat() -> None:
    """Where the hosts' clocks differ, a payload that was not retained vouches for itself."""
    received = Freshness()
    received.payload(payload(NOON + 7200), NOON, retained=True)
    before = received.stale(NOON)
    received.payload(payload(NOON + 7200), NOON + 1, retained=False)

    assert before
    assert received.stale(NOON + 2) == ""


def test_clock_set_back() -> None:
    """A clock that was set back by an hour does not keep a payload alive for an hour."""
    received = Freshness()
    received.payload(payload(NOON), NOON, retained=False)

    assert received.stale(NOON - 3600) != ""
    assert received.stale(NOON - 0.5) == ""


def test_offline_beats_a_fresh_payload() -> None:
    """`offline` is believed at once, and `online` lets the payload speak again."""
    received = Freshness()
    received.payload(payload(NOON), NOON, retained=False)
    received.status = OFFLINE
    offline = received.stale(NOON)
    received.status = ONLINE

    assert offline == "publisher offline"
    assert received.stale(NOON) == ""


def test_unknown_fields_are_ignored() -> None:
    """A newer publisher's fields break no reader."""
    usage = read(payload(NOON, brand_new={"a": 1}))

    assert usage is not None
    assert usage.rate_1m == 5


@pytest.mark.parametrize(
    "junk", [b"", b"null", b"[]", b"{}", b"\xff", b'"x"', b"[" * 100_000, b'{"rate_1m": "NaN"}', b"1"]
)
def test_garbage_is_no_payload(junk: bytes) -> None:
    """What others publish on our topic is not taken and changes nothing."""
    received = Freshness()

    assert not received.payload(junk, NOON, retained=False)
    assert received.usage is None


@pytest.mark.parametrize("text", [None, "", "soon", "2026-13-01T00:00:00Z", "9999999"])
def test_no_stamp(text: str | None) -> None:
    """What is no stamp has no time."""
    assert seconds(text) is None
