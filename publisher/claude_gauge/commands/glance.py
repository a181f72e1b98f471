"""A node's newest usage: from its topic if a publisher runs, else computed on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.usage import Usage, usage_topic
from claude_gauge.daemon.process import compute_once
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.node_reader import NodeReader

CONNECT_S = 2.0
RETAINED_S = 0.5  # a broker sends what is retained at once


@dataclass(frozen=True, slots=True)
class Glance:
    """A payload, the bytes it came in, and where it came from in words."""

    usage: Usage
    payload: bytes
    origin: str


def look(settings: Settings, own_node: str) -> Glance:
    """Return the node's newest payload; if the topic has none that is fresh, compute this machine's own.

    Raises GaugeError for another machine's node: its figures can't be computed here.
    """
    glance, why = _from_topic(settings)
    if glance is not None:
        return glance
    if settings.node != own_node:
        raise GaugeError(f"{why}; is its publisher running? This machine is {own_node}")
    usage = compute_once(settings)
    return Glance(usage, usage.to_json(), f"computed here, since no publisher was heard: {why}")


def _from_topic(settings: Settings) -> tuple[Glance | None, str]:
    node = NodeReader(settings)
    link = node.link
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            return None, link.trouble or f"broker {link.endpoint.place} does not answer"
        node.arrived.wait(RETAINED_S)
    finally:
        link.stop()
    unreadable = link.unreadable(usage_topic(settings.node))
    if unreadable.what:
        return None, str(unreadable)
    usage, stale = node.known(time.time())
    if usage is None or stale:
        return None, f"{usage_topic(settings.node)} at {link.endpoint.place}: {stale}"
    age = time.time() - (seconds(usage.updated_at) or 0)
    origin = f"from {usage_topic(settings.node)} at {link.endpoint.place}, {max(0, age):.0f} s old"
    return Glance(usage, node.payload, origin), ""
