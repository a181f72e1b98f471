"""Removes a node: its device in Home Assistant and its retained topics."""

from __future__ import annotations

from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.contract.usage import ONLINE, status_topic, usage_topic
from claude_gauge.mqtt.retained import Retained
from claude_gauge.outlets.homeassistant.discovery import discovery_topic


@dataclass(frozen=True, slots=True)
class Removal:
    """What was there before: the number of topics seen, and whether the node's publisher runs."""

    seen: int
    online: bool


def remove(settings: Settings, node: str) -> Removal:
    """Clear the node's retained discovery, usage and status; raises GaugeError where the broker refuses.

    Of a node whose publisher runs the discovery alone goes: it would say the others again. Where something of it is
    seen, topics that are not are cleared, too: a user may be allowed to write what it may not read. Where nothing is
    seen, discovery is left alone: Home Assistant warns of a device that it does not know.
    """
    discovery, status, usage = discovery_topic(settings.discovery, node), status_topic(node), usage_topic(node)
    with Retained(settings, discovery, status, usage) as retained:
        retained.connect()
        retained.look(topics=3)
        online = retained.held.get(status) == ONLINE.encode()
        seen = sum(bool(payload) for payload in retained.held.values())
        topics = [discovery] if online else [discovery, status, usage] if seen else [status, usage]
        retained.write(dict.fromkeys(topics, b""))
    return Removal(seen, online)
