"""The broker: is it reachable, are we authorised, does what we say arrive elsewhere."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator

from claude_gauge.apps.doctor.check import Check, age
from claude_gauge.config import Settings
from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.usage import usage_topic
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.node_reader import NodeReader

CONNECT_S = 4.0
DELIVERY_S = 3.0
_SKEW_S = 30.0


def broker(settings: Settings) -> Iterator[Check]:
    """Connect, send something past the broker to ourselves, and look at what is retained for this node."""
    try:
        node = NodeReader(settings)
    except GaugeError as error:
        yield Check("broker", "fail", str(error), "mend the setting")
        return
    link, echo = node.link, threading.Event()
    word = secrets.token_hex(8).encode()
    probe = f"claude-gauge/{settings.node}/doctor"

    def take(message: Message) -> None:
        if message.payload == word:
            echo.set()

    link.listen(probe, take)
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            advice = "start one (`claude-gauge publish` brings its own when none is set), or mend CLAUDE_GAUGE_BROKER"
            yield Check("broker", "fail", link.trouble or f"{link.endpoint.place} does not answer", advice)
            return
        yield Check("broker", "ok", f"connected to {link.endpoint.place} ({link.version})")
        node.arrived.wait(DELIVERY_S / 3)
        yield _echoed(link, echo, probe, word)
        yield from _topic(settings, node, time.time())
    finally:
        link.stop()


def _echoed(link: Link, echo: threading.Event, probe: str, word: bytes) -> Check:
    """Mosquitto answers a forbidden subscription with success: only what is delivered proves a permission."""
    link.send(probe, word, qos=1)
    if echo.wait(DELIVERY_S):
        return Check("permission", "ok", f"what is written to {probe} arrives")
    return Check(
        "permission", "fail", f"what is written to {probe} does not arrive",
        "let this user write and read claude-gauge/<node>/# (broker's ACL), or use this node's own user",
    )  # fmt: skip


def _topic(settings: Settings, node: NodeReader, now: float) -> Iterator[Check]:
    topic = usage_topic(settings.node)
    usage, stale = node.known(now)
    if usage is None:
        yield Check("topic", "warn", f"nothing retained on {topic}", "start `claude-gauge publish`")
        return
    made = seconds(usage.updated_at) or 0.0
    if made - now > _SKEW_S:
        yield Check("clock", "warn", f"the publisher's clock is {age(made - now)} ahead of this one", "set both by NTP")
    if stale:
        yield Check("topic", "warn", f"{topic}: {stale}", "start `claude-gauge publish`, or look into its log")
        return
    yield Check("topic", "ok", f"{topic}, computed {age(now - made)} ago, status {node.status or 'unknown'}")
    for name, part in usage.sources.items():
        if not part.ok:
            yield Check(f"source of {name}", "warn", f"{part.source}: {part.why or 'not healthy'}", "see below")
