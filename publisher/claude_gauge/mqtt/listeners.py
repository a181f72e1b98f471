"""Subscriptions, renewed at each connection, and who is handed what arrives."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

from claude_gauge.mqtt.message import Handler, Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A filter and who hears what matches it; `foreign`: only what others say from now on."""

    topic_filter: str
    handler: Handler
    qos: int = 1
    foreign: bool = False


class Listeners:
    """May be added to from any thread; all else is the link's thread's."""

    def __init__(self) -> None:
        self._all: list[Subscription] = []
        self._due: list[Subscription] = []

    def add(self, subscription: Subscription) -> None:
        """Take one more; it is subscribed for at the next turn."""
        self._all.append(subscription)
        self._due.append(subscription)

    def connected(self) -> None:
        """Begin a new connection, which knows of no subscription."""
        self._due = list(self._all)

    @property
    def due(self) -> list[Subscription]:
        """Those that this connection was not yet asked for."""
        return list(self._due)

    def asked(self, subscription: Subscription) -> None:
        """Note that this connection was asked for it."""
        if subscription in self._due:
            self._due.remove(subscription)

    def hear(self, message: Message) -> None:
        """Hand a message to those who asked for its topic."""
        for each in list(self._all):
            if topic_matches_sub(each.topic_filter, message.topic):
                try:
                    each.handler(message)
                except Exception:  # one reader's fault must not cut the others off
                    log.exception("a reader of %s failed", each.topic_filter)
