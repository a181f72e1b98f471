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

Changed = Callable[[], None]


class NodeReader:
    """A node's newest payload and status, over `link`, which the owner starts and stops.

    `changed` is called after each payload and each status, on the link's thread; the rest may be asked from any.
    """

    def __init__(self, settings: Settings, changed: Changed = lambda: None) -> None:
        self.link = Link(settings, status=None)
        self.arrived = threading.Event()  # a payload did
        self.payload = b""  # the newest, as it came
        self._freshness = Freshness()
        self._lock = threading.Lock()
        self._changed = changed
        self.link.listen(status_topic(settings.node), self._take_status)
        self.link.listen(usage_topic(settings.node), self._take_payload)

    def newest(self, now: float) -> tuple[Usage | None, str]:
        """Return the newest payload, and why it can't be believed at `now` (epoch seconds), "" where it can."""
        with self._lock:
            return self._freshness.usage, self._freshness.stale(now)

    @property
    def status(self) -> str:
        """What the status topic says; empty where nothing."""
        return self._freshness.status

    def _take_payload(self, message: Message) -> None:
        with self._lock:
            if not self._freshness.payload(message.payload, time.time(), retained=message.retain):
                return
            self.payload = message.payload
        self.arrived.set()
        self._changed()

    def _take_status(self, message: Message) -> None:
        with self._lock:
            self._freshness.status = message.payload.decode("utf-8", "replace")[:16]
        self._changed()
