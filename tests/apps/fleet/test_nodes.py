from __future__ import annotations

import json

import pytest
from tests.apps.fleet.conftest import NOW, usage

from claude_gauge.apps.fleet.nodes import FORGET_S, MOST_NODES, Roll
from claude_gauge.contract.freshness import SILENCE_S
from claude_gauge.contract.usage import MAX_BYTES, stamp


def said(at: float = NOW, **changes: object) -> bytes:
    """A payload as a node publishes it."""
    return usage(updated_at=stamp(at), **changes).to_json()


def rate(roll: Roll, now: float = NOW) -> float | None:
    """The rate of the only live node; None when there is none."""
    members = [member for member in roll.members(now) if member.live]
    return members[0].usage.rate_1m if members else None


def test_newest_wins() -> None:
    """Of many payloads between two looks only the newest is read."""
    roll = Roll()
    for n in range(100):
        roll.payload("a", said(NOW + n / 1000, rate_1m=n), NOW, retained=False)

    assert rate(roll) == 99


def test_own_output_is_not_merged() -> None:
    """What the fleet itself publishes is no node."""
    roll = Roll()

    assert not roll.payload("all", said(rate_1m=1), NOW, retained=False)
    assert not roll.status("all", b"online", NOW)
    assert roll.members(NOW) == []


def test_silence() -> None:
    """A node is dropped after three missed heartbeats, and comes back with its next word."""
    roll = Roll()
    roll.payload("a", said(rate_1m=5), NOW, retained=False)

    assert rate(roll, NOW + SILENCE_S - 1) == 5
    assert rate(roll, NOW + SILENCE_S) is None
    roll.payload("a", said(NOW + 60, rate_1m=6), NOW + 60, retained=False)
    assert rate(roll, NOW + 60) == 6


def test_goodbye() -> None:
    """A node that says `offline` is dropped at once and is no trouble."""
    roll = Roll()
    roll.payload("a", said(rate_1m=5), NOW, retained=False)
    roll.status("a", b"offline", NOW)
    (found,) = roll.members(NOW)

    assert (found.live, found.off) == (False, True)


def test_old_retained_payload() -> None:
    """A retained payload counts only when its own stamp vouches for it."""
    roll = Roll()
    roll.payload("old", said(NOW - 3600, rate_1m=5), NOW, retained=True)
    roll.payload("new", said(NOW - 10, rate_1m=6), NOW, retained=True)
    live = {member.node for member in roll.members(NOW) if member.live}

    assert live == {"new"}


def test_reconnect_of_a_node_with_a_wrong_clock() -> None:
    """A retained copy of what was heard live already does not throw a node out whose clock is wrong."""
    roll = Roll()
    payload = said(NOW - 9999, rate_1m=5)
    roll.payload("a", payload, NOW, retained=False)
    roll.members(NOW)
    roll.payload("a", payload, NOW + 1, retained=True)

    assert rate(roll, NOW + 1) == 5


def test_overtaken_payload() -> None:
    """An older payload that arrives late is not shown."""
    roll = Roll()
    roll.payload("a", said(NOW, rate_1m=2), NOW, retained=False)
    roll.members(NOW)
    roll.payload("a", said(NOW - 1, rate_1m=1), NOW, retained=False)

    assert rate(roll) == 2


def test_clock_set_back() -> None:
    """A clock that is set back by an hour does not silence its node."""
    roll = Roll()
    roll.payload("a", said(NOW, rate_1m=2), NOW, retained=False)
    roll.members(NOW)
    roll.payload("a", said(NOW - 3600, rate_1m=3), NOW + 1, retained=False)

    assert rate(roll, NOW + 1) == 3


@pytest.mark.parametrize("garbage", [b"{", b"[]", b"null", b'{"rate_1m": "x"}', b"\xff", b"1" * 2000, b"[" * 1000])
def test_garbage(garbage: bytes) -> None:
    """Garbage on a node's topic neither counts nor hides what is known."""
    roll = Roll()
    roll.payload("a", said(rate_1m=5), NOW, retained=False)
    roll.members(NOW)
    roll.payload("a", garbage, NOW, retained=False)

    assert rate(roll) == 5


def test_payload_that_is_too_large() -> None:
    """A payload that no microcontroller could hold is none, however well it is formed."""
    roll = Roll()
    large = json.dumps({**json.loads(said(rate_1m=5)), "new_field": "x" * MAX_BYTES}).encode()

    assert not roll.payload("a", large, NOW, retained=False)
    assert rate(roll) is None


def test_live_payload_goes_before_a_retained_one() -> None:
    """A retained copy that comes in behind a live payload, before either is read, does not take its place."""
    roll = Roll()
    roll.payload("a", said(NOW - 9999, rate_1m=2), NOW, retained=False)
    roll.payload("a", said(NOW - 9999, rate_1m=1), NOW, retained=True)

    assert rate(roll) == 2


def test_newer_contract() -> None:
    """Fields that a newer publisher adds are ignored."""
    roll = Roll()
    newer = json.dumps({**json.loads(said(rate_1m=5)), "new_field": {"x": 1}}).encode()
    roll.payload("a", newer, NOW, retained=False)

    assert rate(roll) == 5


def test_cleared_topic() -> None:
    """A node whose retained payload is taken away is forgotten."""
    roll = Roll()
    roll.payload("a", said(), NOW, retained=False)
    roll.payload("a", b"", NOW, retained=False)

    assert roll.members(NOW) == []


def test_flood_of_names() -> None:
    """Made-up node names cost bounded memory, and are forgotten in time."""
    roll = Roll()
    for n in range(3 * MOST_NODES):
        roll.payload(f"n{n}", said(), NOW, retained=False)

    assert len(roll.members(NOW)) == MOST_NODES
    assert roll.members(NOW + FORGET_S + 1) == []
    assert roll.payload("late", said(), NOW + FORGET_S + 2, retained=False)


def test_where_tokens_flowed_last() -> None:
    """A node moves when its tokens grow or its model changes, not by a heartbeat."""
    roll = Roll()
    for at, tokens in [(0, 10), (10, 20), (20, 20)]:
        roll.payload("a", said(NOW + at, window_5h_tokens=tokens), NOW + at, retained=False)
        roll.members(NOW + at)

    assert roll.members(NOW + 20)[0].moved_at == NOW + 10


def test_first_word_of_a_node() -> None:
    """A node that works when it is first heard counts as moving, an idle one does not; a new model is a move too."""
    roll = Roll()
    roll.payload("busy", said(idle=False), NOW, retained=False)
    roll.payload("idle", said(), NOW, retained=False)
    first = {member.node: member.moved_at for member in roll.members(NOW)}
    roll.payload("idle", said(NOW + 1, last_model="opus"), NOW + 1, retained=False)
    later = {member.node: member.moved_at for member in roll.members(NOW + 1)}

    assert first == {"busy": NOW, "idle": 0}
    assert later == {"busy": NOW, "idle": NOW + 1}


@pytest.mark.parametrize("name", ["kitchen.local", "", "a/b", "n" * 41, "k\n"])
def test_what_is_no_node_is_passed_over(name: str) -> None:
    """Anybody may write below our topics; a name that no node can have must not reach the payload."""
    roll = Roll()

    assert not roll.payload(name, said(rate_1m=1), NOW, retained=True)
    assert not roll.status(name, b"online", NOW)
    assert roll.members(NOW) == []
