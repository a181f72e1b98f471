"""One fleet per broker: a second one finds the first at work and does not begin."""

from __future__ import annotations

import threading
import time

from claude_gauge.config import Settings
from claude_gauge.contract.usage import FLEET_NODE, HEARTBEAT_S, ONLINE, status_topic, usage_topic
from claude_gauge.errors import AlreadyPublishingError
from claude_gauge.mqtt.link import Link
from claude_gauge.system.net import answers

RETAINED_S = 1.0
LOOK_S = 0.1


def refuse_second(settings: Settings, stopping: threading.Event) -> None:
    """Raise AlreadyPublishingError when a fleet is at work at this broker; a broker that is away is no hindrance.

    A fleet that crashed may still count as online: only one that speaks within a heartbeat is alive.
    """
    online, alive = threading.Event(), threading.Event()

    def status(_topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - the link's handlers
        if payload == ONLINE.encode():
            online.set()

    def usage(_topic: str, _payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's handlers
        if not retained:
            alive.set()

    link = Link(settings, status=None)
    if not answers(link.endpoint.host, link.endpoint.port):
        link.stop()
        return
    link.listen(status_topic(FLEET_NODE), status)
    link.listen(usage_topic(FLEET_NODE), usage)
    link.start()
    try:
        if link.wait_connected(RETAINED_S) and online.wait(RETAINED_S):
            end = time.monotonic() + HEARTBEAT_S + RETAINED_S
            while time.monotonic() < end and not stopping.is_set() and not alive.wait(LOOK_S):
                pass
    finally:
        link.stop()
    if alive.is_set():
        raise AlreadyPublishingError(
            f"another fleet merges the nodes of {link.endpoint.place} already; one per broker is enough"
        )
