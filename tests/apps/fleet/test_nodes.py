from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.apps.fleet.conftest import NOW, usage
from tests.support.net import PATIENCE_S

from claude_gauge.apps.fleet.merge import State, merge
from claude_gauge.apps.fleet.nodes import FORGET_S, MOST_NODES, Nodes
from claude_gauge.contract.freshness import SILENCE_S
from claude_gauge.contract.usage import HEARTBEAT_S, MAX_BYTES, stamp
from claude_gauge.mqtt.connection import KEEPALIVE_S
from claude_gauge.system.atomic_file import StateFile


def said(at: float = NOW, **changes: object) -> bytes:
    """A payload as a node publishes it."""
    return usage(updated_at=stamp(at), **changes).to_json()


def rate(nodes: Nodes, now: float = NOW) -> float | None:
    """The rate of the only live node; None when there is none."""
    members = [member for member in nodes.members(now) if member.live]
    return members[0].usage.rate_1m if members else None


def test_newest_wins() -> None:
    """Of many payloads between two looks only the newest is read."""
    nodes = Nodes()
    for n in range(100):
        nodes.payload("a", said(NOW + n / 1000, rate_1m=n), NOW, retained=False)

    assert rate(nodes) == 99


def test_own_output_is_not_merged() -> None:
    """What the fleet itself publishes is no node."""
    nodes = Nodes()

    assert not nodes.payload("all", said(rate_1m=1), NOW, retained=False)
    assert not nodes.status("all", b"online", NOW)
    assert nodes.members(NOW) == []


def test_silence() -> None:
    """A node is dropped after three missed heartbeats, and comes back with its next word."""
    nodes = Nodes()
    nodes.payload("a", said(rate_1m=5), NOW, retained=False)

    assert rate(nodes, NOW + SILENCE_S - 1) == 5
    assert rate(nodes, NOW + SILENCE_S) is None
    nodes.payload("a", said(NOW + 60, rate_1m=6), NOW + 60, retained=False)
    assert rate(nodes, NOW + 60) == 6


def test_goodbye() -> None:
    """A node that says `offline` is dropped at once and is no trouble."""
    nodes = Nodes()
    nodes.payload("a", said(rate_1m=5), NOW, retained=False)
    nodes.status("a", b"offline", NOW)
    (only,) = nodes.members(NOW)

    assert only.state is State.OFF


def test_old_retained_payload() -> None:
    """A retained payload counts only when its own stamp vouches for it."""
    nodes = Nodes()
    nodes.payload("old", said(NOW - 3600, rate_1m=5), NOW, retained=True)
    nodes.payload("new", said(NOW - 10, rate_1m=6), NOW, retained=True)
    live = {member.node for member in nodes.members(NOW) if member.live}

    assert live == {"new"}


def test_reconnect_of_a_node_with_a_wrong_clock() -> None:
    """A retained copy of what was received live already does not throw a node out whose clock is wrong."""
    nodes = Nodes()
    payload = said(NOW - 9999, rate_1m=5)
    nodes.payload("a", payload, NOW, retained=False)
    nodes.members(NOW)
    nodes.payload("a", payload, NOW + 1, retained=True)

    assert rate(nodes, NOW + 1) == 5


def test_overtaken_payload() -> None:
    """An older payload that arrives late is not shown."""
    nodes = Nodes()
    nodes.payload("a", said(NOW, rate_1m=2), NOW, retained=False)
    nodes.members(NOW)
    nodes.payload("a", said(NOW - 1, rate_1m=1), NOW, retained=False)

    assert rate(nodes) == 2


def test_clock_set_back() -> None:
    """A clock that is set back by an hour does not silence its node."""
    nodes = Nodes()
    nodes.payload("a", said(NOW, rate_1m=2), NOW, retained=False)
    nodes.members(NOW)
    nodes.payload("a", said(NOW - 3600, rate_1m=3), NOW + 1, retained=False)

    assert rate(nodes, NOW + 1) == 3


@pytest.mark.parametrize("garbage", [b"{", b"[]", b"null", b'{"rate_1m": "x"}', b"\xff", b"1" * 2000, b"[" * 1000])
def test_garbage(garbage: bytes) -> None:
    """Garbage on a node's topic neither counts nor hides what is known."""
    nodes = Nodes()
    nodes.payload("a", said(rate_1m=5), NOW, retained=False)
    nodes.members(NOW)
    nodes.payload("a", garbage, NOW, retained=False)

    assert rate(nodes) == 5


def test_payload_that_is_too_large() -> None:
    """A payload that no microcontnodeser could hold is none, however well it is formed."""
    nodes = Nodes()
    large = json.dumps({**json.loads(said(rate_1m=5)), "new_field": "x" * MAX_BYTES}).encode()

    assert not nodes.payload("a", large, NOW, retained=False)
    assert rate(nodes) is None


def test_live_payload_goes_before_a_retained_one() -> None:
    """A retained copy that comes in behind a live payload, before either is read, does not take its place."""
    nodes = Nodes()
    nodes.payload("a", said(NOW - 9999, rate_1m=2), NOW, retained=False)
    nodes.payload("a", said(NOW - 9999, rate_1m=1), NOW, retained=True)

    assert rate(nodes) == 2


def test_newer_contract() -> None:
    """Fields that a newer publisher adds are ignored."""
    nodes = Nodes()
    newer = json.dumps({**json.loads(said(rate_1m=5)), "new_field": {"x": 1}}).encode()
    nodes.payload("a", newer, NOW, retained=False)

    assert rate(nodes) == 5


def test_cleared_topic() -> None:
    """A node whose retained payload is taken away is forgotten."""
    nodes = Nodes()
    nodes.payload("a", said(), NOW, retained=False)
    nodes.payload("a", b"", NOW, retained=False)

    assert nodes.members(NOW) == []


def test_flood_of_names() -> None:
    """Made-up node names cost bounded memory, and are forgotten in time."""
    nodes = Nodes()
    for n in range(3 * MOST_NODES):
        nodes.payload(f"n{n}", said(), NOW, retained=False)

    assert len(nodes.members(NOW)) == MOST_NODES
    assert nodes.members(NOW + FORGET_S + 1) == []
    assert nodes.payload("late", said(), NOW + FORGET_S + 2, retained=False)


def test_where_tokens_flowed_last() -> None:
    """A node moves when its tokens grow or its model changes, not by a heartbeat."""
    nodes = Nodes()
    for at, tokens in [(0, 10), (10, 20), (20, 20)]:
        nodes.payload("a", said(NOW + at, window_5h_tokens=tokens), NOW + at, retained=False)
        nodes.members(NOW + at)

    assert nodes.members(NOW + 20)[0].moved_at == NOW + 10


def test_first_word_of_a_node() -> None:
    """A node that works when it is first received counts as moving, an idle one does not; a new model is a move too."""
    nodes = Nodes()
    nodes.payload("busy", said(idle=False), NOW, retained=False)
    nodes.payload("idle", said(), NOW, retained=False)
    first = {member.node: member.moved_at for member in nodes.members(NOW)}
    nodes.payload("idle", said(NOW + 1, last_model="opus"), NOW + 1, retained=False)
    later = {member.node: member.moved_at for member in nodes.members(NOW + 1)}

    assert first == {"busy": NOW, "idle": 0}
    assert later == {"busy": NOW, "idle": NOW + 1}


@pytest.mark.parametrize("name", ["kitchen.local", "", "a/b", "n" * 41, "k\n"])
def test_what_is_no_node_is_passed_over(name: str) -> None:
    """Anybody may write below our topics; a name that no node can have must not reach the payload."""
    nodes = Nodes()

    assert not nodes.payload(name, said(rate_1m=1), NOW, retained=True)
    assert not nodes.status(name, b"online", NOW)
    assert nodes.members(NOW) == []


@pytest.mark.parametrize(
    ("silence", "state"),
    [(3, State.LOST), (HEARTBEAT_S + 0.5, State.LOST), (1.5 * KEEPALIVE_S, State.SILENT), (25, State.SILENT)],
)
def test_crash_and_sleep(silence: float, state: State) -> None:
    """A connection lost soon after a payload is a crash; one lost long after the last word is a machine asleep."""
    nodes = Nodes()
    nodes.payload("a", said(rate_1m=5), NOW, retained=False)
    nodes.members(NOW)
    nodes.status("a", b"offline", NOW + silence, lost=True)
    (only,) = nodes.members(NOW + silence)

    assert only.state is state


@pytest.mark.parametrize("minutes", [-10, -3, 3, 10])
def test_clock_that_is_minutes_off(minutes: float) -> None:
    """At a start a node whose clock is minutes off is there at once, if it is online, and stays with its heartbeats."""
    nodes = Nodes()
    skew = minutes * 60
    nodes.payload("a", said(NOW - 10 + skew, rate_1m=5), NOW, retained=True)
    before = rate(nodes, NOW)
    nodes.status("a", b"online", NOW)
    at_once = rate(nodes, NOW)
    nodes.payload("a", said(NOW + 5 + skew, rate_1m=6), NOW + 5, retained=False)

    assert (before, at_once, rate(nodes, NOW + 5), rate(nodes, NOW + 40)) == (None, 5, 6, 6)


def test_old_payload_of_a_node_that_only_seems_online() -> None:
    """Where a broker kept `online` of a publisher that is gone, the node is dropped when its heartbeat is overdue."""
    nodes = Nodes()
    nodes.status("a", b"online", NOW)
    nodes.payload("a", said(NOW - 300, rate_1m=5), NOW, retained=True)

    assert rate(nodes, NOW + 1) == 5
    assert rate(nodes, NOW + 25) is None


@pytest.mark.parametrize("back", [2.0, 10.0, 30.0])
def test_clock_set_back_a_little(back: float) -> None:
    """A clock that is set back by less than a silence freezes its node for one payload at most."""
    nodes = Nodes()
    nodes.payload("a", said(NOW, rate_1m=1), NOW, retained=False)
    nodes.members(NOW)
    for n in (1, 2):
        nodes.payload("a", said(NOW + n / 10 - back, rate_1m=1 + n), NOW + n / 10, retained=False)
        nodes.members(NOW + n / 10)

    assert rate(nodes, NOW + 1) == 3


def test_invalid_payloads_take_no_slot() -> None:
    """A flood of garbage and of statuses under made-up names leaves the slots to the nodes."""
    nodes = Nodes()
    for n in range(3 * MOST_NODES):
        nodes.payload(f"g{n}", b"{}", NOW, retained=False)
        nodes.status(f"s{n}", b"online", NOW)
    nodes.payload("desk", said(rate_1m=7), NOW, retained=False)

    assert rate(nodes) == 7


def test_absent_node_is_kept_while_its_window_runs() -> None:
    """A node that went stays for an hour, and longer while its windows run."""
    nodes = Nodes()
    nodes.payload("long", said(window_5h_pct=0.7, window_5h_resets_at=stamp(NOW + 3 * 3600)), NOW, retained=False)
    nodes.payload("short", said(), NOW, retained=False)
    kept = {member.node for member in nodes.members(NOW + 2 * 3600)}

    assert kept == {"long"}
    assert nodes.members(NOW + 4 * 3600) == []


def test_recalled_after_a_restart() -> None:
    """What was stored comes back as absent, and as on when the broker holds a fresh payload."""
    first, second = Nodes(), Nodes()
    fresh = said(NOW, rate_1m=3, window_5h_resets_at=stamp(NOW + 3600))
    first.payload("laptop", said(NOW - 600, rate_1m=9, window_5h_resets_at=stamp(NOW + 3600)), NOW, retained=False)
    first.payload("desk", fresh, NOW, retained=False)
    first.members(NOW)
    first.status("laptop", b"offline", NOW)
    second.recall(first.to_json(), NOW)
    second.payload("desk", fresh, NOW + 1, retained=True)
    states = {member.node: member.state for member in second.members(NOW + 1)}

    assert states == {"laptop": State.OFF, "desk": State.LIVE}


def _plan(share: float, at: float) -> bytes:
    return said(at, window_5h_pct=share, fuel_source="plan", window_5h_resets_at=stamp(NOW + 3600))


def test_newest_plan_figure_outlives_a_restart() -> None:
    """A node that only repeats an old and higher figure of the plan does not win because the fleet started again."""
    first, second = Nodes(), Nodes()
    for at, node, share in ((0, "old", 0.8), (0, "new", 0.7), (1, "old", 0.85), (2, "new", 0.17)):
        first.payload(node, _plan(share, NOW + at), NOW + at, retained=False)
        first.members(NOW + at)
    second.recall(first.to_json(), NOW + 3)
    for node, share in (("old", 0.85), ("new", 0.17)):
        second.payload(node, _plan(share, NOW + 4), NOW + 4, retained=False)

    assert merge(second.members(NOW + 4), NOW + 4, 1e6).window_5h_pct == 0.17


def test_stored_under_a_clock_that_was_ahead() -> None:
    """Times of next year say no more than that it was lately: what moves now is newer."""
    first, second, later = Nodes(), Nodes(), 366 * 86400
    for share in (0.8, 0.85):
        first.payload("old", _plan(share, NOW), NOW + later, retained=False)
        first.members(NOW + later)
    second.recall(first.to_json(), NOW)
    for node, share in (("new", 0.3), ("old", 0.85), ("new", 0.17)):
        second.payload(node, _plan(share, NOW + 1), NOW + 1, retained=False)
        only = merge(second.members(NOW + 1), NOW + 1, 1e6)

    assert only.window_5h_pct == 0.17


@pytest.mark.parametrize("content", [b"", b"{", b"[1, null]", b'[{"node": "a"}]', b'{"node": 3}', b"[" * 5000])
def test_stored_nodes_that_are_unreadable(content: bytes, tmp_path: Path) -> None:
    """A store of another shape is passed over."""
    nodes = Nodes()
    (tmp_path / "fleet.json").write_bytes(content)
    StateFile(tmp_path / "fleet.json", "").read(lambda stored: nodes.recall(stored, NOW))

    assert nodes.members(NOW) == []


def test_recall_overwrites_nobody_who_spoke() -> None:
    """What was stored is older than what a node has said since, whichever comes first."""
    stored, nodes = Nodes(), Nodes()
    stored.payload("desk", said(NOW - 60, rate_1m=9), NOW - 60, retained=False)
    stored.members(NOW - 60)
    nodes.payload("desk", said(NOW, rate_1m=3), NOW, retained=False)
    nodes.recall(stored.to_json(), NOW)

    assert rate(nodes) == 3


def test_asked_from_many_threads_at_once() -> None:
    """Payloads, goodbyes, looks, stores and recalls at once: no error, and each node ends with its last word."""
    nodes, faults = Nodes(), list[Exception]()
    stored = [nodes.to_json()]

    def speak(name: str) -> None:
        for n in range(200):
            nodes.payload(name, said(NOW + n / 1000, rate_1m=n), NOW + n / 1000, retained=False)
            nodes.status(name, b"offline" if n % 3 else b"online", NOW + n / 1000)
        nodes.status(name, b"online", NOW + 1)

    def look() -> None:
        for _ in range(60):
            nodes.members(NOW)
            stored[0] = nodes.to_json()
            nodes.recall(stored[0], NOW)

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - reported by the assert below
            faults.append(error)

    works: list[Callable[[], None]] = [functools.partial(speak, name) for name in ("a", "b", "c")]
    works += [look, look]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not faults
    assert {member.node: (member.usage.rate_1m, member.live) for member in nodes.members(NOW + 1)} == dict.fromkeys(
        ("a", "b", "c"), (199, True)
    )
