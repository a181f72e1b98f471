"""The running fleet: hears every node, and publishes them as one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from claude_gauge.apps.fleet.merge import merge
from claude_gauge.apps.fleet.nodes import Roll
from claude_gauge.apps.fleet.second import refuse_second
from claude_gauge.config import Settings
from claude_gauge.contract.pace import Pace
from claude_gauge.contract.usage import EXPIRY_S, FLEET_NODE, status_topic, usage_topic
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant

log = logging.getLogger(__name__)

LOOK_S = 1.0  # silence is noticed by looking
RETAINED_S = 1.0


class Fleet:
    """Merges `claude-gauge/+/usage` into `claude-gauge/all/usage` until `stop`."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._roll, self._pace = Roll(), Pace()
        self._news, self._stopping = threading.Event(), threading.Event()
        self._nodes: frozenset[str] = frozenset()
        self.link = Link(settings, status=status_topic(FLEET_NODE))
        # Only the newest counts, and a payload that is lost is followed by the next: QoS 0 spares 200 nodes' acks.
        self.link.listen(usage_topic("+"), self._payload, qos=0)
        self.link.listen(status_topic("+"), self._status)
        HomeAssistant(self.link, settings, FLEET_NODE).start()

    def run(self) -> None:
        """Publish until `stop`; raises AlreadyPublishingError when another fleet merges at this broker."""
        refuse_second(self._settings, self._stopping)
        self.link.start()
        try:
            if self.link.wait_connected(RETAINED_S):
                self._stopping.wait(RETAINED_S / 4)  # what the broker holds comes first: no needle drops at a restart
            while not self._stopping.is_set():
                self._turn()
                self._news.wait(LOOK_S)
                self._stopping.wait(self._pace.gap(time.monotonic()))
                self._news.clear()
        finally:
            self.link.stop()

    def stop(self) -> None:
        """End `run` soon; safe in a signal handler."""
        self._stopping.set()
        self._news.set()

    def _turn(self) -> None:
        """Merge and send, when there is something to see."""
        members = self._roll.members(self._clock())
        usage = merge(members, self._clock(), self._settings.redline)
        steady = time.monotonic()
        if self._pace.wants(usage, steady):
            self._tell(frozenset(member.node for member in members if member.live))
            self.link.announce(usage_topic(FLEET_NODE), usage.to_json(), expiry_s=EXPIRY_S)
            self._pace.sent(usage, steady)

    def _tell(self, nodes: frozenset[str]) -> None:
        for node in sorted(nodes - self._nodes):
            log.info("%s is here", node)
        for node in sorted(self._nodes - nodes):
            log.info("%s is away", node)
        self._nodes = nodes

    def _payload(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's handlers
        if self._roll.payload(topic.split("/")[1], payload, self._clock(), retained=retained):
            self._news.set()

    def _status(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - the link's handlers
        if self._roll.status(topic.split("/")[1], payload, self._clock()):
            self._news.set()
