"""Detects other writers on this node's own topics: a second publisher of the node, or invalid values.

A value that is not ours is replaced, for one reason that is met in practice: after a change of network the broker
sends the will of our old, half-open connection, `offline`, when the new one has said `online` long ago.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from enum import Enum, auto

from claude_gauge.contract.usage import ONLINE

EPISODE_S = 60.0  # four heartbeats without a message from the other publisher: it is gone
REMEMBERED = 64
ECHO_S = 10.0  # far longer than any broker needs
REPAIR_S = 1.0  # two clients that both replace a value never do it faster than this


class Verdict(Enum):
    """What a message on one of our own topics means."""

    OURS = auto()
    REPAIR = auto()
    RIVAL = auto()


class Repairs:
    """When to send our own value again on a topic to which someone else wrote: at once, but once a second at most."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def want(self, topic: str, now: float) -> None:
        """Ask for this topic's own value to be sent again."""
        self._due.setdefault(topic, max(now, self._last.get(topic, now - REPAIR_S) + REPAIR_S))

    def take(self, now: float) -> list[str]:
        """Return the topics that are due now, and forget them."""
        due = [topic for topic, at in self._due.items() if at <= now]
        for topic in due:
            del self._due[topic]
            self._last[topic] = now
        return due

    def next(self, otherwise: float) -> float:
        """Return when the next one is due."""
        return min(self._due.values(), default=otherwise)


class Echoes:
    """Whether what we say on our own topics comes back, where the broker has no word for a refused message.

    Counted from the moment at which it granted the subscription.
    """

    def __init__(self) -> None:
        self._granted: set[str] = set()
        self._since: dict[str, float] = {}

    def connected(self) -> None:
        """Begin a new connection, which has granted nothing."""
        self._granted.clear()
        self._since.clear()

    def granted(self, topic: str) -> None:
        """Note that the broker will send us what is said on this topic, as far as it says."""
        self._granted.add(topic)

    def said(self, topic: str, now: float) -> None:
        """Note that we have said something."""
        if topic in self._granted:
            self._since.setdefault(topic, now)

    def delivered(self, topic: str) -> None:
        """Note that something came on this topic."""
        self._since.pop(topic, None)

    def missing(self, now: float) -> list[str]:
        """Return the topics on which what we said did not come back for too long; each again and again."""
        return [topic for topic, at in self._since.items() if now - at > ECHO_S]


class Guard:
    """Remembers what we published on our own topics, and so recognises what others did.

    A rival's value is left alone: it would replace ours in turn, again and again. Anything else is replaced.
    """

    def __init__(self, status_topic: str) -> None:
        self._status = status_topic
        self.filter = status_topic.rpartition("/")[0] + "/+"
        self._prefix = self.filter[:-1]
        self._said: dict[str, deque[bytes]] = {}
        self._rival_at: float | None = None
        self.repairs, self.echoes = Repairs(), Echoes()

    def covers(self, topic: str) -> bool:
        """Return whether this is one of our own topics."""
        return topic.startswith(self._prefix) and "/" not in topic.removeprefix(self._prefix)

    def said(self, topic: str, payload: bytes) -> None:
        """Remember what we publish, so that its echo is recognised."""
        if self.covers(topic):
            self._said.setdefault(topic, deque(maxlen=REMEMBERED)).append(_digest(payload))

    def judge(self, topic: str, payload: bytes, now: float) -> Verdict:
        """Return what a message means that came while we are connected."""
        said = self._said.get(topic)
        if said is None:
            return Verdict.OURS
        if topic == self._status:
            return Verdict.OURS if payload == ONLINE.encode() else Verdict.REPAIR
        if _digest(payload) in said:
            return Verdict.OURS
        if _is_usage(payload):
            self._rival_at = now
            return Verdict.RIVAL
        return Verdict.REPAIR

    def take(self, topic: str, payload: bytes, now: float) -> None:
        """Judge a message that is not retained, and send our own value again if needed."""
        if self.judge(topic, payload, now) is Verdict.REPAIR:
            self.repairs.want(topic, now)

    def rival(self, now: float) -> bool:
        """Return whether another publisher wrote recently."""
        return self._rival_at is not None and now - self._rival_at < EPISODE_S


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=8).digest()


def _is_usage(payload: bytes) -> bool:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "updated_at" in value
