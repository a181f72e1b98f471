"""Those who want to hear of topics: subscribed for at every connection, and handed what comes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

from claude_gauge.mqtt.connection import Connection

log = logging.getLogger(__name__)

Handler = Callable[[str, bytes, bool], None]


@dataclass(frozen=True, slots=True)
class _Listener:
    topic_filter: str
    handler: Handler
    qos: int


class Listeners:
    """May be added to from any thread; all else is the link's thread's."""

    def __init__(self) -> None:
        self._all: list[_Listener] = []
        self._subscribed = 0

    def add(self, topic_filter: str, handler: Handler, qos: int) -> None:
        """Take one more; it is subscribed for at the next turn."""
        self._all.append(_Listener(topic_filter, handler, qos))

    def connected(self) -> None:
        """Begin a new connection, which knows of no subscription."""
        self._subscribed = 0

    def subscribe(self, connection: Connection) -> None:
        """Subscribe for those who are new on this connection."""
        while self._subscribed < len(self._all):
            each = self._all[self._subscribed]
            connection.subscribe(each.topic_filter, each.qos)
            self._subscribed += 1

    def hear(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Hand a message to those who asked for its topic."""
        for each in list(self._all):
            if topic_matches_sub(each.topic_filter, topic):
                try:
                    each.handler(topic, payload, retained)
                except Exception:  # one reader's fault must not cut the others off
                    log.exception("a reader of %s failed", each.topic_filter)
