"""The roll of nodes: what came from each one last; one slot per node, so that a flood costs no memory."""

from __future__ import annotations

import logging
import re
import threading

from claude_gauge.apps.fleet.member import Member
from claude_gauge.contract.freshness import SILENCE_S, Freshness, read, seconds
from claude_gauge.contract.usage import FLEET_NODE, MAX_BYTES, NODE_PATTERN, OFFLINE, Usage

log = logging.getLogger(__name__)

MOST_NODES = 1000
FORGET_S = 3600.0  # a silent node is named as silent for so long


class _Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = Freshness()
        self.waiting: tuple[bytes, bool, float] | None = None  # the newest payload, not yet read
        self.moved_at = 0.0
        self.last_at = 0.0


class Roll:
    """Takes messages from the link's thread at any pace; `members` reads only the newest of each node."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._lock = threading.Lock()
        self._full = False

    def payload(self, name: str, payload: bytes, now: float, *, retained: bool) -> bool:
        """Take a node's payload; tell whether there is something new to merge."""
        if not _is_node(name) or len(payload) > MAX_BYTES:
            return False
        with self._lock:
            if not payload:
                return self._nodes.pop(name, None) is not None
            node = self._node(name, now)
            if node is None or (retained and node.waiting and not node.waiting[1]):
                return False
            node.waiting = payload, retained, now
            return True

    def status(self, name: str, status: bytes, now: float) -> bool:
        """Take a node's `online` or `offline`."""
        if not _is_node(name):
            return False
        with self._lock:
            node = self._node(name, now) if status else None
            if node is None:
                return False
            node.heard.status = status.decode("utf-8", "replace")
            return True

    def members(self, now: float) -> list[Member]:
        """List every node that ever said something, as it is at `now`."""
        with self._lock:
            nodes = list(self._nodes.values())
            waiting = [(node, node.waiting) for node in nodes if node.waiting]
            for node in nodes:
                node.waiting = None
        for node, (payload, retained, at) in waiting:
            _read(node, payload, at, retained=retained)
        with self._lock:
            for node in nodes:
                if now - node.last_at > FORGET_S:
                    self._nodes.pop(node.name, None)
        return [
            Member(
                node.name,
                node.heard.usage,
                live=not node.heard.stale(now),
                off=node.heard.status == OFFLINE,
                moved_at=node.moved_at,
            )
            for node in nodes
            if node.heard.usage is not None and now - node.last_at <= FORGET_S
        ]

    def _node(self, name: str, now: float) -> _Node | None:
        node = self._nodes.get(name)
        if node is None and len(self._nodes) < MOST_NODES:
            node = self._nodes[name] = _Node(name)
        if node is None and not self._full:
            self._full = True
            log.warning("more than %d nodes: %s and others are left out", MOST_NODES, name)
        if node is not None:
            node.last_at = now
        return node


def _is_node(name: str) -> bool:
    """Tell whether a topic's level names a node: anybody may write what he likes there."""
    return name != FLEET_NODE and re.fullmatch(NODE_PATTERN, name) is not None


def _read(node: _Node, payload: bytes, at: float, *, retained: bool) -> None:
    """Read a node's newest payload, unless what is known is newer."""
    before = node.heard.usage
    found = read(payload)
    if found is None:
        log.debug("no payload from %s: %.80r", node.name, payload)
        return
    if before is not None and _older(before, found, retained=retained):
        return
    node.heard.take(found, at, retained=retained)
    if _moved(before, found):
        node.moved_at = at


def _older(known: Usage, found: Usage, *, retained: bool) -> bool:
    """Tell whether a payload was overtaken on its way; one that is far older is a clock that was set back.

    A retained one that is already known came with a reconnect: it says nothing about being alive.
    """
    behind = (seconds(known.updated_at) or 0.0) - (seconds(found.updated_at) or 0.0)
    return behind >= 0 if retained else 0 < behind < SILENCE_S


def _moved(before: Usage | None, found: Usage) -> bool:
    """Tell whether tokens flowed since the payload before."""
    if before is None:
        return not found.idle
    return found.window_5h_tokens > before.window_5h_tokens or found.last_model != before.last_model
