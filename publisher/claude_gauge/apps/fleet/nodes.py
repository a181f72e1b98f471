"""Each node's newest payload and status, in one slot per node, so that a flood of messages costs no memory.

A node gets its slot with its first valid payload, and keeps it until an hour after its last message, or until the last
of its windows resets, whichever is later. Messages come in the link's thread at any pace; `members` reads only the
newest payload of each node.

States: a node is on while its payloads come, and until three heartbeats are missed. `offline` says that it is gone:
its own goodbye or, where the message carries the reason, the broker's word for a lost connection (the last will). A
connection that was lost more than a heartbeat after the last payload belongs to a machine that fell asleep.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from claude_gauge.apps.fleet.merge import Member, State
from claude_gauge.contract.freshness import SILENCE_S, Freshness, read, seconds
from claude_gauge.contract.usage import HEARTBEAT_S, MAX_BYTES, OFFLINE, Usage, node_fault
from claude_gauge.mqtt.connection import KEEPALIVE_S

log = logging.getLogger(__name__)
MOST_NODES = 1000
FORGET_S = 3600.0  # a node whose windows are over is named as gone for so long
OVERTAKEN_S = 2.0  # a payload that was overtaken on its way is not later than that
# Awake, it would have sent a heartbeat within this; the broker gives a sleeping one up after 1.5 times the keepalive.
ASLEEP_S = (HEARTBEAT_S + 1.5 * KEEPALIVE_S) / 2


@dataclass(slots=True)
class _Payload:
    content: bytes
    retained: bool
    at: float


class _Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.freshness = Freshness()
        self.unread: _Payload | None = None
        self.behind = False  # the payload before was dropped as overtaken
        self.heartbeat_at = 0.0  # when a payload came that was not retained
        self.payload_at = 0.0  # when any payload came
        self.moved_at = self.plan_moved_at = self.last_at = 0.0
        self.lost_at: float | None = None

    def member(self, now: float) -> Member | None:
        usage = self.freshness.usage
        if usage is None:
            return None
        return Member(self.name, usage, self._state(now), self.moved_at, self.plan_moved_at)

    def to_dict(self) -> dict[str, object]:
        return {
            "node": self.name,
            "usage": self.freshness.usage and self.freshness.usage.model_dump(mode="json"),
            "status": self.freshness.status,
            "last_at": self.last_at,
            "lost_at": self.lost_at,
            "moved_at": self.moved_at,
            "plan_moved_at": self.plan_moved_at,
        }

    def _state(self, now: float) -> State:
        if not self.freshness.stale(now):
            return State.LIVE
        if self.freshness.status != OFFLINE:
            return State.SILENT
        if self.lost_at is None:
            return State.OFF
        return State.SILENT if self.lost_at - self.payload_at > ASLEEP_S else State.LOST


class Nodes:
    """The nodes of a broker; every method may be called from any thread, for each holds the lock from end to end."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._status: dict[str, tuple[bytes, bool]] = {}  # of nodes that have no slot yet
        self._lock = threading.Lock()
        self._full = False

    def payload(self, name: str, payload: bytes, now: float, *, retained: bool) -> bool:
        """Take a node's payload; return whether the merged payload may change."""
        if not _is_node(name) or len(payload) > MAX_BYTES:
            return False
        with self._lock:
            if not payload:
                return self._nodes.pop(name, None) is not None
            node = self._nodes.get(name) or self._first(name, payload)
            if node is None or (retained and node.unread and not node.unread.retained):
                return False
            node.unread = _Payload(payload, retained, now)
            node.last_at = now
            return True

    def status(self, name: str, status: bytes, now: float, *, lost: bool = False) -> bool:
        """Take a node's `online` or `offline`; `lost`: it is the last will, sent by the broker."""
        if not _is_node(name) or not status:
            return False
        with self._lock:
            node = self._nodes.get(name)
            if node is not None:
                _set_status(node, status, now, lost=lost)
            elif len(self._status) < MOST_NODES:
                self._status[name] = status, lost
        return node is not None

    def members(self, now: float) -> list[Member]:
        """List the nodes that are on, and those whose windows still run or that went within the last hour."""
        with self._lock:
            for node in self._nodes.values():
                payload, node.unread = node.unread, None
                if payload:
                    _read(node, payload)
            members = [(node, member) for node in self._nodes.values() if (member := node.member(now))]
            kept = [(node, member) for node, member in members if member.counts(now) or now - node.last_at <= FORGET_S]
            self._nodes = {node.name: node for node, _ in kept}
        return [member for _, member in kept]

    def to_json(self) -> bytes:
        """Write each node's state as JSON, for the next start."""
        with self._lock:
            nodes = [node.to_dict() for node in self._nodes.values() if node.freshness.usage]
        return json.dumps(nodes).encode()

    def recall(self, content: bytes, now: float) -> None:
        """Take what `to_json` wrote, but of a node that has published since; an entry of another shape is ignored.

        Raises ValueError for no JSON.
        """
        entries = json.loads(content)
        nodes = [node for each in (entries if isinstance(entries, list) else []) if (node := _recalled(each, now))]
        with self._lock:
            for node in nodes:
                if len(self._nodes) < MOST_NODES:
                    self._nodes.setdefault(node.name, node)

    def _first(self, name: str, payload: bytes) -> _Node | None:
        """Give a node its slot if its first payload is valid."""
        if read(payload) is None:
            log.debug("no payload from %s: %.80r", name, payload)
            return None
        if len(self._nodes) >= MOST_NODES:
            if not self._full:
                self._full = True
                log.warning("more than %d nodes: %s and others are left out", MOST_NODES, name)
            return None
        node = self._nodes[name] = _Node(name)
        status, lost = self._status.pop(name, (b"", False))
        if status:
            _set_status(node, status, 0.0, lost=lost)
        return node


def names(members: Iterable[Member]) -> frozenset[str]:
    """Name the nodes that are on."""
    return frozenset(member.node for member in members if member.live)


def _is_node(name: str) -> bool:
    """Return whether a topic's level names a node: anybody may write below our topics."""
    return not node_fault(name)


def _set_status(node: _Node, status: bytes, now: float, *, lost: bool) -> None:
    node.freshness.status = status.decode("utf-8", "replace")
    node.lost_at = now if lost and node.freshness.status == OFFLINE else None
    node.last_at = max(node.last_at, now)


def _read(node: _Node, payload: _Payload) -> None:
    """Read a node's newest payload, unless it is older than what is known."""
    before, usage = node.freshness.usage, read(payload.content)
    if usage is None:
        log.debug("no payload from %s: %.80r", node.name, payload.content)
        return
    if before is not None and _is_older(node, before, usage, payload):
        return
    node.freshness.take(usage, payload.at, retained=payload.retained)
    node.behind = False
    node.payload_at = payload.at
    if not payload.retained:
        node.heartbeat_at = payload.at
    if _tokens_moved(before, usage):
        node.moved_at = payload.at
    if before is not None and _plan(before) != _plan(usage):
        node.plan_moved_at = payload.at


def _is_older(node: _Node, before: Usage, usage: Usage, payload: _Payload) -> bool:
    """Return whether a payload was overtaken on its way, as bridges and clustered brokers let it happen.

    One that comes later than that, or after another that was behind, comes from a clock that was set back. A retained
    one that is not newer came with a reconnect: it says nothing about being alive.
    """
    behind = (seconds(before.updated_at) or 0.0) - (seconds(usage.updated_at) or 0.0)
    if payload.retained:
        return behind > 0 or (behind == 0 and node.heartbeat_at > 0)
    overtaken = 0 < behind < SILENCE_S and payload.at - node.heartbeat_at < OVERTAKEN_S and not node.behind
    node.behind = overtaken
    return overtaken


def _tokens_moved(before: Usage | None, usage: Usage) -> bool:
    """Return whether tokens flowed since the payload before."""
    if before is None:
        return not usage.idle
    return usage.window_5h_tokens > before.window_5h_tokens or usage.last_model != before.last_model


def _plan(usage: Usage) -> tuple[object, ...] | None:
    """Return the plan's figures, to see whether there is news."""
    if usage.fuel_source != "plan":
        return None
    return usage.window_5h_pct, usage.window_5h_resets_at, usage.window_7d_pct, usage.limit_name, usage.limit_pct


def _recalled(entry: object, now: float) -> _Node | None:
    """Read one stored node; None for what is none. No stored time is later than now: the clock may have been wrong."""
    if not isinstance(entry, dict) or not _is_node(str(entry.get("node"))):
        return None
    usage = read(json.dumps(entry.get("usage")).encode())
    last_at, lost_at, status = entry.get("last_at"), entry.get("lost_at"), entry.get("status")
    if usage is None or not isinstance(last_at, int | float) or not isinstance(status, str):
        return None
    node = _Node(str(entry["node"]))
    node.last_at, node.freshness.status = min(now, float(last_at)), status
    node.lost_at = float(lost_at) if isinstance(lost_at, int | float) else None
    # What moved last is still the newest news: a node that repeats an old figure of the plan must not win a restart.
    moved = [entry.get(name) for name in ("moved_at", "plan_moved_at")]
    node.moved_at, node.plan_moved_at = (min(now, float(at)) if isinstance(at, int | float) else 0.0 for at in moved)
    node.freshness.take(usage, 0.0, retained=True)
    return node
