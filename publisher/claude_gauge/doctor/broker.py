"""The broker: is it reachable, are we authorised, does what we say arrive elsewhere."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator

from claude_gauge.config import Settings
from claude_gauge.doctor.check import Check, age
from claude_gauge.errors import GaugeError
from claude_gauge.heard import Heard, seconds
from claude_gauge.mqtt.link import Link
from claude_gauge.usage import status_topic, usage_topic

CONNECT_S = 4.0
DELIVERY_S = 3.0
_SKEW_S = 30.0


def broker(settings: Settings) -> Iterator[Check]:
    """Connect, send something past the broker to ourselves, and look at what is retained for this node."""
    try:
        link = Link(settings, status=None)
    except GaugeError as error:
        yield Check("broker", "fail", str(error), "mend the setting")
        return
    heard, arrived, echo = Heard(), threading.Event(), threading.Event()
    word = secrets.token_hex(8).encode()
    probe = f"claude-gauge/{settings.node}/doctor"

    def take(topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's signature
        if topic == usage_topic(settings.node) and heard.payload(payload, time.time(), retained=retained):
            arrived.set()
        elif topic == status_topic(settings.node):
            heard.status = payload.decode("utf-8", "replace")[:16]
        elif topic == probe and payload == word:
            echo.set()

    for topic in (usage_topic(settings.node), status_topic(settings.node), probe):
        link.listen(topic, take)
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            advice = "start one (`claude-gauge publish` brings its own when none is set), or mend CLAUDE_GAUGE_BROKER"
            yield Check("broker", "fail", link.trouble or f"{link.endpoint.place} does not answer", advice)
            return
        yield Check("broker", "ok", f"connected to {link.endpoint.place} ({link.version})")
        arrived.wait(DELIVERY_S / 3)
        yield _echoed(link, echo, probe, word)
        yield from _topic(settings, heard, time.time())
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


def _topic(settings: Settings, heard: Heard, now: float) -> Iterator[Check]:
    topic = usage_topic(settings.node)
    if heard.usage is None:
        yield Check("topic", "warn", f"nothing retained on {topic}", "start `claude-gauge publish`")
        return
    made = seconds(heard.usage.updated_at) or 0.0
    stale = heard.stale(now)
    if made - now > _SKEW_S:
        yield Check("clock", "warn", f"the publisher's clock is {age(made - now)} ahead of this one", "set both by NTP")
    if stale:
        yield Check("topic", "warn", f"{topic}: {stale}", "start `claude-gauge publish`, or look into its log")
        return
    yield Check("topic", "ok", f"{topic}, computed {age(now - made)} ago, status {heard.status or 'unknown'}")
    for name, part in heard.usage.sources.items():
        if not part.ok:
            yield Check(f"source of {name}", "warn", f"{part.source}: {part.why or 'not healthy'}", "see below")
