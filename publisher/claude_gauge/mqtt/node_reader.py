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
from claude_gauge.mqtt.trouble import FINE, NOT_KEPT, Reason

Changed = Callable[[], None]
SETTLED_S = 10.0  # a broker that ends the connection at a forbidden subscription is asked three times


class NodeReader:
    """A node's newest payload and status, over `link`, which the owner starts and stops.

    `changed` is called after each payload and each status, on the link's thread; the rest may be asked from any.
    """

    def __init__(self, settings: Settings, changed: Changed = lambda: None, *, quiet: bool = False) -> None:
        self.link = Link(settings, status=None, quiet=quiet)
        self.arrived = threading.Event()  # a payload did
        self.payload = b""  # the newest, as it came
        self._freshness = Freshness()
        self._lock = threading.Lock()
        self._changed = changed
        self.link.listen(status_topic(settings.node), self._take_status)
        self._topic = usage_topic(settings.node)
        self.link.listen(self._topic, self._take_payload)

    def look(self, seconds: float) -> bool:
        """Wait for a payload for so long, and until it is known whether we may read it; return whether one came."""
        return self.arrived.wait(seconds) or (self.link.wait_settled(SETTLED_S) and self.arrived.is_set())

    def newest(self, now: float) -> tuple[Usage | None, str]:
        """Return the newest payload, and why it can't be believed at `now` (epoch seconds), "" where it can.

        What the broker does not let us read, or does not keep, is not taken for nothing.
        """
        with self._lock:
            usage, stale = self._freshness.usage, self._freshness.stale(now)
        if usage is None and self.unseen.what:
            return None, str(self.unseen)
        return usage, stale

    @property
    def unseen(self) -> Reason:
        """Why no payload came although one may be there: it is refused or not kept; `FINE` where one came."""
        if self.arrived.is_set():
            return FINE
        return self.link.unreadable(self._topic) if self.link.keeps_retained else NOT_KEPT.by(self.link.endpoint.place)

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
