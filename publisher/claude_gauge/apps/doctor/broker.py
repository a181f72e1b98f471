"""Checks the broker: reachable, this user allowed, messages delivered."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator

from claude_gauge.apps.doctor.machine import Check, age
from claude_gauge.config import Settings
from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.usage import (
    FLEET_NODE,
    HEARTBEAT_S,
    MAX_BYTES,
    ONLINE,
    ORDERS,
    node_of,
    order_topic,
    status_topic,
    usage_topic,
)
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.node_reader import NodeReader
from claude_gauge.mqtt.trouble import NOT_KEPT
from claude_gauge.outlets.homeassistant.announcer import page_url
from claude_gauge.outlets.homeassistant.discovery import discovery, discovery_topic
from claude_gauge.outlets.homeassistant.numbers import offer

CONNECT_S = 4.0
DELIVERY_S = 3.0
RETAINED_S = 1.0
SETTLED_S = 15.0  # a broker that ends connections is asked again and again until it is known at what
_SKEW_S = 30.0
ASSISTANT = "Home Assistant"


def broker(settings: Settings, *, only_shows: bool = False) -> Iterator[Check]:
    """Connect, send something past the broker to ourselves, and look at what is retained for this node."""
    try:
        node = NodeReader(settings)
    except GaugeError as error:
        yield Check("broker", "fail", str(error), "correct the setting")
        return
    link = node.link
    probe = _Probe(link, f"claude-gauge/{settings.node}/doctor")
    others: set[str] = set()
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            yield _away(settings, link)
            return
        yield Check("broker", "ok", f"connected to {link.endpoint.place} ({link.version})")
        if not node.look(DELIVERY_S / 3):  # what is retained comes before the echo of what is sent afterwards
            link.listen(usage_topic("+"), lambda message: others.add(node_of(message.topic)))
        yield from probe.checks(only_shows=only_shows)
        publish = "start the publisher where Claude Code runs" if only_shows else "start `claude-gauge publish`"
        if probe.lost and not node.arrived.is_set():
            state = f"nothing came on {usage_topic(settings.node)} yet, and this broker keeps nothing for us"
            yield Check("topic", "warn", state, f"{publish}; it says something every {HEARTBEAT_S:.0f} s")
        elif node.unseen.what:
            yield Check("topic", "fail" if only_shows else "warn", node.unseen.what, node.unseen.advice)
        else:
            yield from _topic(settings, node, sorted(others - {settings.node, ""}), time.time(), publish)
        if settings.discovery != "off" and not only_shows:
            yield from _home_assistant(settings, link, runs=node.status == ONLINE)
    finally:
        link.stop()


def _away(settings: Settings, link: Link) -> Check:
    problem = link.reason.what or f"{link.endpoint.place} does not answer"
    if settings.broker in {None, "embedded"}:
        advice = "`claude-gauge publish` starts one of its own; CLAUDE_GAUGE_BROKER names another"
        return Check("broker", "warn", f"no broker runs on this machine: {problem}", advice)
    return Check("broker", "fail", problem, link.reason.advice or "start it, or correct CLAUDE_GAUGE_BROKER")


def _home_assistant(settings: Settings, link: Link, *, runs: bool) -> Iterator[Check]:
    """Subscribe as the publisher does, and write its discovery topic with the value that it has already.

    A broker may end the connection at what it does not allow; the link finds out at what.
    """
    topic = discovery_topic(settings.discovery, settings.node)
    numbers, most = offer(settings), link.largest_packet
    size = Message(topic, discovery(settings.node, page=page_url(settings.http), numbers=numbers)).size
    if most is not None and size > most:
        state = f"broker {link.endpoint.place} takes {most:,} bytes at most, and {topic} has {size:,}"
        yield Check(ASSISTANT, "warn", state, 'raise its limit of a packet\'s size, or set discovery = "off"')
        return
    held: list[Message] = []
    came = threading.Condition()

    def take(message: Message) -> None:
        with came:
            held.append(message)
            came.notify_all()

    link.listen(topic, take)
    filters = [f"{settings.discovery}/status", status_topic(FLEET_NODE)]
    if numbers == "offered":
        filters += [order_topic(settings.node, each) for each in ORDERS]
    for each in filters:
        link.listen(each, lambda _message: None)
    link.wait_settled(SETTLED_S)
    with came:
        came.wait_for(lambda: held, RETAINED_S)
    if not held and runs:
        seen = "is not ours to see" if link.unreadable(topic).what else "is not there, or not ours to see"
        state = f"the publisher runs; {topic} {seen}: whether it may be written the publisher's log says"
        yield Check(ASSISTANT, "ok", state)
        return
    link.announce(topic, held[0].payload if held else b"")
    settled = link.wait_settled(SETTLED_S)
    with came:
        proved = link.acknowledges or came.wait_for(lambda: any(not each.retain for each in held), RETAINED_S)
    yield from _may_announce(link, topic, filters, arrived=settled and proved)


def _may_announce(link: Link, topic: str, filters: list[str], *, arrived: bool) -> Iterator[Check]:
    """Yield what the broker refused of announcing a device: writing its topic, reading what Home Assistant says."""
    refusals = [reason for reason in (link.refusal(topic), *map(link.unreadable, filters)) if reason.what]
    for reason in refusals:
        yield Check(ASSISTANT, "warn", reason.what, f'{reason.advice or "see its log"}; or set discovery = "off"')
    if arrived and not refusals:
        yield Check(ASSISTANT, "ok", f"{topic} may be written, {filters[0]} be read")
    elif not refusals:
        yield Check(ASSISTANT, "warn", f"what is written to {topic} does not come back", "let this user write it (ACL)")


class _Probe:
    """Writes a retained message to a topic of its own and reads it, as a publisher and its readers do; clears it then.

    Mosquitto answers a forbidden subscription with success, and some brokers keep nothing and do not say so: only what
    is delivered proves a permission.
    """

    def __init__(self, link: Link, topic: str) -> None:
        self.lost = False  # the broker keeps no retained messages
        self._link, self._topic = link, topic
        self._word = secrets.token_hex(MAX_BYTES // 2).encode()  # as long as a payload may be
        self._echo, self._kept = threading.Event(), threading.Event()
        link.listen(topic, self._take)

    def checks(self, *, only_shows: bool) -> Iterator[Check]:
        """Yield what this user may do there, and whether the broker keeps it."""
        self._link.send(self._topic, self._word, qos=1, retain=True)
        refused = self._link.wait_settled(DELIVERY_S) and self._link.unreadable(self._topic).what
        arrived = not refused and self._echo.wait(DELIVERY_S)
        yield self._permission(arrived=arrived, only_shows=only_shows)
        if arrived:
            self._link.listen(self._topic, self._take)  # once more: this brings what is kept
            self.lost = not self._kept.wait(RETAINED_S)
        self._link.send(self._topic, b"", qos=1, retain=True)
        self._link.wait_settled(RETAINED_S)
        self.lost = self.lost or not self._link.keeps_retained
        if self.lost:
            yield Check("retained messages", "warn", NOT_KEPT.by(self._link.endpoint.place).what, NOT_KEPT.advice)

    def _permission(self, *, arrived: bool, only_shows: bool) -> Check:
        if arrived:
            return Check("permission", "ok", f"what is written to {self._topic} arrives")
        if only_shows:
            return Check("permission", "off", f"this user may not write to {self._topic}: not needed to show")
        refusal, unreadable = self._link.refusal(self._topic), self._link.unreadable(self._topic)
        if unreadable.what and self._link.acknowledges and not refusal.what:
            advice = "let it read claude-gauge/<node>/# (broker's ACL): without that a second publisher is not noticed"
            return Check("permission", "warn", f"this user may write to {self._topic}, but not read it", advice)
        state = refusal.what or unreadable.what or f"what is written to {self._topic} does not arrive"
        advice = "let this user write and read claude-gauge/<node>/# (broker's ACL), or use this node's own user"
        too_large = refusal.advice and "ACL" not in refusal.advice
        return Check("permission", "fail", state, refusal.advice if too_large else advice)

    def _take(self, message: Message) -> None:
        if message.payload == self._word:
            (self._kept if message.retain else self._echo).set()


def _topic(settings: Settings, node: NodeReader, others: list[str], now: float, publish: str) -> Iterator[Check]:
    topic = usage_topic(settings.node)
    usage, stale = node.newest(now)
    if usage is None:
        state, advice = f"nothing retained on {topic}", publish
        if node.status == ONLINE:
            state, advice = f"{state}, though its publisher is online", "its log says why (`claude-gauge service logs`)"
        elif others:
            state += f"; this broker has the nodes {', '.join(others)}"
            advice += ", or name one of these with --node"
        yield Check("topic", "warn", state, advice)
        return
    made = seconds(usage.updated_at) or 0.0
    if made - now > _SKEW_S:
        yield Check("clock", "warn", f"the publisher's clock is {age(made - now)} ahead of this one", "set both by NTP")
    if stale:
        yield Check("topic", "warn", f"{topic}: {stale}", f"{publish}, or see its log")
        return
    yield Check("topic", "ok", f"{topic}, computed {age(now - made)} ago, status {node.status or 'unknown'}")
    for name, part in usage.sources.items():
        if not part.ok:
            why = part.why or "not healthy"
            advice = next((advice for sign, advice in _SOURCES if sign in why), _LOG)
            yield Check(f"source of {name}", "warn", f"{part.source}: {why}", advice)


_LOG = "the publisher's log says more (`claude-gauge service logs`); the lines above show this machine"
_SOURCES = (
    ("no transcripts folder", "start Claude Code once where the publisher runs, or set CLAUDE_CONFIG_DIR for it"),
    ("no transcripts", "ask Claude Code something where the publisher runs"),
    ("no use seen", "ask Claude Code something where the publisher runs"),
    ("unreadable", "correct owner or mode of Claude Code's files where the publisher runs"),
    ("reading history", "wait a moment"),
)
