"""Follows one node's topics through every outage; `show`, `watch` and `doctor` read a publisher through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from claude_gauge.config import Settings
from claude_gauge.contract.freshness import Freshness
from claude_gauge.contract.usage import Usage, status_topic, usage_topic
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message

Told = Callable[[], None]


class NodeReader:
    """A node's newest payload and status, over `link`, which the owner starts and stops.

    `told` is called after each payload and each status, on the link's thread; the rest may be asked from any.
    """

    def __init__(self, settings: Settings, told: Told = lambda: None) -> None:
        self.link = Link(settings, status=None)
        self.arrived = threading.Event()  # a payload did
        self.payload = b""  # the newest, as it came
        self._heard = Freshness()
        self._lock = threading.Lock()
        self._told = told
        self.link.listen(status_topic(settings.node), self._take_status)
        self.link.listen(usage_topic(settings.node), self._take_payload)

    def known(self, now: float) -> tuple[Usage | None, str]:
        """Return the newest payload, and why it can't be believed at `now` (epoch seconds), "" where it can."""
        with self._lock:
            return self._heard.usage, self._heard.stale(now)

    @property
    def status(self) -> str:
        """What the status topic says; empty where nothing."""
        return self._heard.status

    def _take_payload(self, message: Message) -> None:
        with self._lock:
            if not self._heard.payload(message.payload, time.time(), retained=message.retain):
                return
            self.payload = message.payload
        self.arrived.set()
        self._told()

    def _take_status(self, message: Message) -> None:
        with self._lock:
            self._heard.status = message.payload.decode("utf-8", "replace")[:16]
        self._told()
