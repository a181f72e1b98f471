"""The running fleet: subscribes to every node and publishes the merged payload."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from claude_gauge.apps.fleet.merge import merge
from claude_gauge.apps.fleet.nodes import Nodes, names
from claude_gauge.config import Settings
from claude_gauge.contract.freshness import read
from claude_gauge.contract.needle import Pace
from claude_gauge.contract.usage import EXPIRY_S, FLEET_NODE, HEARTBEAT_S, ONLINE, node_of, status_topic, usage_topic
from claude_gauge.errors import AlreadyPublishingError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.system.atomic_file import StateFile
from claude_gauge.system.net import answers

log = logging.getLogger(__name__)
LOOK_S = 1.0  # silence is noticed by looking
RETAINED_S = 1.0
STORE_S = 60.0
STORE = "fleet.json"
NONE_ON, NOT_READABLE = "no node is on", "nodes may not be read"


class Fleet:
    """Merges `claude-gauge/+/usage` into `claude-gauge/all/usage` until `stop`."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time, with_demos: bool = False) -> None:
        self._settings, self._clock, self._with_demos = settings, clock, with_demos
        self._nodes, self._pace = Nodes(), Pace()
        self._store = StateFile(settings.state_dir / STORE, "absent nodes count again when they come back")
        self._stored_at = 0.0
        self._news, self._stopping = threading.Event(), threading.Event()
        self._live: frozenset[str] = frozenset()
        self.link = Link(settings, status=status_topic(FLEET_NODE))
        # Only the newest counts, and a payload that is lost is followed by the next: QoS 0 spares 200 nodes' acks.
        self.link.listen(usage_topic("+"), self._payload, qos=0)
        self.link.listen(status_topic("+"), self._status)
        self._home_assistant = HomeAssistant(self.link, settings, FLEET_NODE)

    def run(self) -> None:
        """Publish until `stop`; raises AlreadyPublishingError when another fleet merges at this broker."""
        refuse_second(self._settings, self._stopping)
        # A machine that is off sends nothing, and its use still counts.
        self._store.read(lambda content: self._nodes.recall(content, self._clock()))
        self._home_assistant.start()
        self.link.start()
        try:
            if self.link.wait_connected(RETAINED_S):
                self._stopping.wait(RETAINED_S / 4)  # what the broker holds comes first: no needle drops at a restart
            while not self._stopping.is_set():
                self._publish()
                self._news.wait(LOOK_S)
                self._stopping.wait(self._pace.gap(time.monotonic()))
                self._news.clear()
        finally:
            self.link.stop()
            self._store.write(self._nodes.to_json())

    def stop(self) -> None:
        """End `run` soon; from any thread."""
        self._stopping.set()
        self._news.set()

    def _publish(self) -> None:
        """Merge and send, when there is something to see."""
        now, steady = self._clock(), time.monotonic()
        members = [each for each in self._nodes.members(now) if self._with_demos or not each.usage.made_up]
        hidden = self.link.unreadable(usage_topic("+")).what
        usage = merge(members, now, self._settings.redline, NOT_READABLE if hidden else NONE_ON)
        if not self._pace.wants(usage, steady):
            return
        live = names(members)
        self._log_changes(live)
        if live != self._live or steady - self._stored_at > STORE_S:
            self._stored_at = steady
            self._store.write(self._nodes.to_json())
        self._live = live
        self.link.announce(usage_topic(FLEET_NODE), usage.to_json(), expiry_s=EXPIRY_S)
        self._pace.sent(usage, steady)

    def _log_changes(self, live: frozenset[str]) -> None:
        for node in sorted(live - self._live):
            log.info("%s is here", node)
        for node in sorted(self._live - live):
            log.info("%s is away", node)

    def _payload(self, message: Message) -> None:
        node = node_of(message.topic)
        if self._nodes.payload(node, message.payload, self._clock(), retained=message.retain):
            self._news.set()

    def _status(self, message: Message) -> None:
        node = node_of(message.topic)
        if self._nodes.status(node, message.payload, self._clock(), lost=message.lost):
            self._news.set()


def refuse_second(settings: Settings, stopping: threading.Event) -> None:
    """Raise AlreadyPublishingError if a fleet runs at this broker: two would overwrite each other's payloads.

    A broker that is away is no obstacle. A fleet that crashed may still count as online: only one that publishes within
    a heartbeat is alive.
    """
    online, alive = threading.Event(), threading.Event()

    def status(message: Message) -> None:
        if message.payload == ONLINE.encode():
            online.set()

    def usage(message: Message) -> None:
        if not message.retain and read(message.payload) is not None:  # anybody may write something there
            alive.set()

    link = Link(settings, status=None, quiet=True)
    if not answers(link.endpoint.host, link.endpoint.port):
        link.stop()
        return
    link.listen(status_topic(FLEET_NODE), status)
    link.listen(usage_topic(FLEET_NODE), usage)
    link.start()
    try:
        if link.wait_connected(RETAINED_S) and online.wait(RETAINED_S):
            end = time.monotonic() + HEARTBEAT_S + RETAINED_S
            while time.monotonic() < end and not stopping.is_set() and not alive.wait(0.1):
                pass
    finally:
        link.stop()
    if alive.is_set():
        raise AlreadyPublishingError(
            f"another fleet merges the nodes of {link.endpoint.place} already; one per broker is enough"
        )
