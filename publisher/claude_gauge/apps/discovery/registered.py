"""What the broker holds of a node's discovery, and taking it away again."""

from __future__ import annotations

import threading
from typing import Self

from claude_gauge.config import Settings
from claude_gauge.contract.usage import ONLINE, status_topic
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.outlets.homeassistant.discovery import discovery_topic

CONNECT_S = 10.0
RETAINED_S = 1.0  # a broker hands out retained messages at once


class Registered:
    """A look at one node's retained discovery and status; use it in a `with`."""

    def __init__(self, settings: Settings, node: str) -> None:
        self._topic, self._status = discovery_topic(settings.discovery, node), status_topic(node)
        self._heard: dict[str, bytes] = {}
        self._news = threading.Condition()
        self._link = Link(settings, status=None)

    def __enter__(self) -> Self:
        for topic in (self._topic, self._status):
            self._link.listen(topic, self._hear)
        self._link.start()
        if not self._link.wait_connected(CONNECT_S):
            why = self._link.trouble or f"broker {self._link.endpoint.place} does not answer"
            self._link.stop()
            raise GaugeError(f"{why}; name another with --broker")
        with self._news:
            self._news.wait_for(lambda: len(self._heard) == 2, RETAINED_S)  # noqa: PLR2004 - both topics
        return self

    def __exit__(self, *_: object) -> None:
        self._link.stop()

    def _hear(self, message: Message) -> None:
        with self._news:
            self._heard[message.topic] = message.payload
            self._news.notify_all()

    @property
    def there(self) -> bool:
        """Whether the broker holds a discovery of this node."""
        return bool(self._heard.get(self._topic))

    @property
    def online(self) -> bool:
        """Whether the node's publisher runs, and so will announce itself again."""
        return self._heard.get(self._status) == ONLINE.encode()

    def remove(self) -> None:
        """Take the discovery away: Home Assistant then forgets the device and its entities.

        Where no publisher runs, its last `offline` goes too: nodes look there for whether there is a fleet.
        """
        self._link.announce(self._topic, b"")
        if not self.online:
            self._link.announce(self._status, b"")
        if not self._link.flush(CONNECT_S):
            raise GaugeError(f"{self._link.endpoint.place} did not take the removal; try again")
