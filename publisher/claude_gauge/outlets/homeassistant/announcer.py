"""Announces a node to Home Assistant (at the start, after each reconnect, at its birth message), and removes it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass

from claude_gauge.config import Settings
from claude_gauge.contract.freshness import FIRST_WORD_S, SILENCE_S, read, seconds
from claude_gauge.contract.usage import (
    FLEET_NODE,
    ONLINE,
    ORDERS,
    order_topic,
    settings_topic,
    status_topic,
    usage_topic,
)
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.retained import Retained
from claude_gauge.mqtt.trouble import FINE, Reason
from claude_gauge.outlets.homeassistant.discovery import discovery, discovery_topic
from claude_gauge.outlets.homeassistant.numbers import OFF, Offer, offer
from claude_gauge.system.net import WILDCARDS, host_of, is_loopback

log = logging.getLogger(__name__)


class HomeAssistant:
    """Keeps one node's device discovery on the broker; `discovery = off` makes it silent."""

    def __init__(self, link: Link, settings: Settings, node: str | None = None, *, made_up: bool = False) -> None:
        self._link, self._made_up = link, made_up
        self._prefix = settings.discovery
        self._node = node or settings.node
        own = self._node != FLEET_NODE
        self._page = page_url(settings.http) if own else None
        self._numbers: Offer = offer(settings) if own else "none"
        self._fleet = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Announce the device and listen for what makes it announce again; call it before the link starts."""
        if self._prefix == OFF:
            return
        self._announce()
        self._link.listen(f"{self._prefix}/status", self._born)
        if self._node != FLEET_NODE:
            self._link.listen(status_topic(FLEET_NODE), self._fleet_seen)

    def _born(self, message: Message) -> None:
        if message.payload.decode(errors="replace") == ONLINE:
            log.info("Home Assistant is up: announcing %s to it", self._node)
            self._announce()

    def _fleet_seen(self, message: Message) -> None:
        seen = bool(message.payload)  # online or offline: there is a fleet; cleared: there is none any more
        with self._lock:
            news, self._fleet = seen != self._fleet, seen
        if news:
            self._announce()

    def _announce(self) -> None:
        payload = discovery(
            self._node, fleet=self._fleet, page=self._page, numbers=self._numbers, made_up=self._made_up
        )
        self._link.announce(discovery_topic(self._prefix, self._node), payload)


def page_url(address: str) -> str | None:
    """Return the URL at which others reach a page that listens at `address` (`host:port`); None where they can't."""
    host, port = host_of(address), address.rpartition(":")[2]
    if not host or is_loopback(host):
        return None
    if host in WILDCARDS:
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@dataclass(frozen=True, slots=True)
class Removal:
    """What was there before: the number of topics seen, whether the node's publisher runs, and what can't be seen."""

    seen: int
    online: bool
    unreadable: Reason = FINE  # the discovery topic, which was cleared all the same


def remove(settings: Settings, node: str, *, patience_s: float = FIRST_WORD_S) -> Removal:
    """Clear what the broker retains of the node; raises GaugeError where it refuses.

    That is its discovery, usage and status; its settings, and orders that somebody had it keep, where they are seen.
    Of a node whose publisher runs the discovery alone goes: it would say the others again. Where something of it is
    seen, or the broker does not let us see, topics that are not seen are cleared, too: a user may be allowed to write
    what it may not read. Where nothing is there, discovery is left alone: Home Assistant warns of a device that it does
    not know. Whether the publisher runs has to be seen.
    """
    discovery, status, usage = discovery_topic(settings.discovery, node), status_topic(node), usage_topic(node)
    others = [settings_topic(node), *(order_topic(node, name) for name in ORDERS)]
    with Retained(settings, discovery, status, usage, *others) as retained:
        retained.connect()
        if (hidden := retained.unreadable(status)).what:
            raise GaugeError(f"{hidden}; so nothing of {node} was removed")
        retained.look(topics=3 + len(others))
        hidden = retained.unreadable(discovery)
        online = retained.held.get(status) == ONLINE.encode() and _publishes(retained, usage, patience_s)
        seen = sum(bool(payload) for payload in retained.held.values())
        topics = [discovery] if online else [status, usage] if not (seen or hidden.what) else [discovery, status, usage]
        topics += [topic for topic in others if retained.held.get(topic) and not online]
        retained.write(dict.fromkeys(topics, b""))
    return Removal(seen, online, hidden)


def _publishes(retained: Retained, usage: str, patience_s: float) -> bool:
    """Return whether a node that counts as online is: a broker that crashed keeps that of one that has gone since."""
    payload = read(retained.held.get(usage, b""))
    made = seconds(payload.updated_at) if payload else None
    return (made is not None and abs(time.time() - made) < SILENCE_S) or retained.hears(usage, patience_s)
