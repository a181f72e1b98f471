"""One look at a node's usage: from its topic where a publisher lives, else computed here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.heard import Heard, seconds
from claude_gauge.mqtt.link import Link
from claude_gauge.running import compute_once
from claude_gauge.usage import Usage, status_topic, usage_topic

CONNECT_S = 2.0
RETAINED_S = 0.5  # a broker sends what is retained at once


@dataclass(frozen=True, slots=True)
class Glance:
    """A payload, the bytes it came in, and where it came from in words."""

    usage: Usage
    payload: bytes
    origin: str


def look(settings: Settings) -> Glance:
    """Return the node's newest payload; computed from this machine's sources where the topic has none to believe."""
    found, why = _from_topic(settings)
    if found is not None:
        return found
    usage = compute_once(settings)
    return Glance(usage, usage.to_json(), f"computed here: {why}")


def _from_topic(settings: Settings) -> tuple[Glance | None, str]:
    heard, payloads, arrived = Heard(), list[bytes](), threading.Event()

    def take(_topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's signature
        if heard.payload(payload, time.time(), retained=retained):
            payloads.append(payload)
            arrived.set()

    def status(_topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - as above
        heard.status = payload.decode("utf-8", "replace")

    link = Link(settings, status=None)
    link.listen(status_topic(settings.node), status)
    link.listen(usage_topic(settings.node), take)
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            return None, link.trouble or f"broker {link.endpoint.place} does not answer"
        arrived.wait(RETAINED_S)
    finally:
        link.stop()
    stale = heard.stale(time.time())
    if heard.usage is None or stale:
        return None, f"{usage_topic(settings.node)} at {link.endpoint.place}: {stale}"
    age = time.time() - (seconds(heard.usage.updated_at) or 0)
    origin = f"from {usage_topic(settings.node)} at {link.endpoint.place}, {max(0, age):.0f} s old"
    return Glance(heard.usage, payloads[-1], origin), ""
