"""Brokers that say what none should, and networks that cut anywhere: the link lives on, and says why it was away."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable

import pytest
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.net import PATIENCE_S, wait_until
from tests.support.raw_broker import (
    CONNACK,
    CONNACK_311,
    CONNECT,
    DISCONNECT,
    PUBLISH,
    SUBSCRIBE,
    RawBroker,
    Wire,
    good,
    packet,
    publish,
)

from claude_gauge.config import Settings
from claude_gauge.mqtt import link as links
from claude_gauge.mqtt import sender
from claude_gauge.mqtt.connection import LARGEST_PACKET
from claude_gauge.mqtt.endpoint import FIVE, THREE
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message

VERSIONS = pytest.mark.parametrize("version", [FIVE, THREE], ids=["mqtt5", "mqtt311"])


def _connack(code: int) -> Callable[[int, Wire], None]:
    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == CONNECT:
                wire.send(bytes([0x20, 3, 0, code, 0]) if each.five else bytes([0x20, 2, 0, min(code, 5)]))
            return

    return script


@pytest.mark.parametrize("code", [0x80, 0x82, 0x85, 0x87, 0x97, 0x9C, 0x9F, 0x77])
def test_refused(code: int, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Each reason with which a broker may refuse us is one line in words, and it is asked again, not without pause."""
    with RawBroker(_connack(code)) as broker:
        link = connect(broker.url)
        wait_until(lambda: link.trouble, "the trouble to be reported")
        wait_until(lambda: broker.connections > 2, "another attempt")
        reported = link.trouble
        link.stop()

    assert f"broker {broker.place} " in reported
    assert 1 <= len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 2


@VERSIONS
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_answer_to_connect_is_cut(cut: int, version: int, connect: Connect) -> None:
    """A connection that ends within CONNACK, wherever, is followed by one that holds."""

    def script(number: int, wire: Wire) -> None:
        for each in wire.packets():
            if number < 2:
                wire.send((CONNACK if each.five else CONNACK_311)[:cut])
                return
            wire.answer(each)

    with RawBroker(script) as broker:
        link = connect(broker.url, version=version)
        wait_until(lambda: link.connected, "a connection")
        link.stop()


@VERSIONS
def test_packet_is_cut_at_each_byte(version: int, connect: Connect) -> None:
    """A message whose bytes come in two parts, cut anywhere, is the same message."""
    payload = bytes(range(256))
    whole = publish("t/x", payload, five=version == FIVE)
    taken = threading.Event()

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            wire.answer(each)
            if each.kind == SUBSCRIBE and b"t/x" in each.body:
                for cut in range(len(whole)):
                    taken.clear()
                    wire.send(whole[:cut])
                    taken.wait(0.001)  # so that the two do not come as one
                    wire.send(whole[cut:])

    received: list[Message] = []
    with RawBroker(script) as broker:
        link = connect(broker.url, version=version)
        link.listen("t/x", received.append)
        wait_until(lambda: len(received) == len(whole), "all of them")
        link.stop()

    assert {(each.topic, each.payload) for each in received} == {("t/x", payload)}
    assert broker.connections == 1


LARGE = publish("t/x", bytes(2 * LARGEST_PACKET), five=False, retain=True)


def test_too_large(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Messages over our limit are read past, however often they come, and reported once for a topic."""
    other = publish("t/y", bytes(2 * LARGEST_PACKET), five=False)

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            wire.answer(each)
            if each.kind == SUBSCRIBE and b"t/+" in each.body:
                wire.send(LARGE + other + LARGE + publish("t/x", b"after", five=False))

    received: list[bytes] = []
    with RawBroker(script) as broker:
        link = connect(broker.url, version=THREE)
        link.listen("t/+", lambda message: received.append(message.payload))
        wait_until(lambda: received, "what comes after them")
        link.stop()

    assert received == [b"after"]
    assert broker.connections == 1
    assert sorted(record.getMessage().split("'")[1] for record in caplog.records if "too much" in record.msg) == [
        "t/x",
        "t/y",
    ]


@pytest.mark.parametrize("retained", [False, True])
def test_too_large_and_slow(connect: Connect, monkeypatch: pytest.MonkeyPatch, *, retained: bool) -> None:
    """A message over our limit that comes slowly ends the connection; the next one goes without what brings it.

    One that was not retained does not come again: the next connection asks for it as before.
    """
    monkeypatch.setattr(links, "LARGE_S", 0.1)
    monkeypatch.setattr(links, "LOOK_S", 0.02)
    asked: list[set[str]] = []
    slow = publish("t/x", bytes(2 * LARGEST_PACKET), five=False, retain=retained)[:100]

    def script(number: int, wire: Wire) -> None:
        asked.append(set())
        for each in wire.packets():
            wire.answer(each)
            if each.kind == SUBSCRIBE:
                asked[number] |= {name for name in ("t/x", "u/+") if name.encode() in each.body}
            if asked[number] and number == 0:
                wire.send(slow)
            elif "u/+" in asked[number]:
                wire.send(publish("u/1", b"good", five=False))

    received: list[bytes] = []
    with RawBroker(script) as broker:
        link = connect(broker.url, version=THREE)
        link.listen("t/x", lambda message: received.append(message.payload))
        link.listen("u/+", lambda message: received.append(message.payload))
        wait_until(lambda: received and link.wait_settled(PATIENCE_S), "what others say")
        trouble = link.unreadable("t/x")
        link.stop()

    assert set(received) == {b"good"}
    assert asked[1] == ({"u/+"} if retained else {"u/+", "t/x"})
    assert ("we go on without t/x; clear that topic" in str(trouble)) == retained


GARBAGE = {
    "no reason in SUBACK": b"\x90\x02\x00\x01",
    "QoS 3": packet(PUBLISH, b"\x00\x01t\x00", 6),
    "endless length": b"\x30\xff\xff\xff\xff\xff",
    "type 0": b"\x00\x00",
    "AUTH": b"\xf0\x02\x18\x00",
    "topic cut": packet(PUBLISH, b"\x00"),
    "nothing in PUBLISH": packet(PUBLISH, b""),
    "properties too long": packet(PUBLISH, b"\x00\x01t\x7fx"),
    "unknown property": packet(PUBLISH, b"\x00\x01t\x02\x7f\x00"),
    "CONNECT": b"\x10\x00",
    "nothing in PUBACK": b"\x40\x00",
}
STRANGE = {
    "PUBACK of nothing": b"\x40\x02\x12\x34",
    "SUBACK of nothing": b"\x90\x04\x12\x34\x00\x00",
    "topic in no UTF-8": packet(PUBLISH, b"\x00\x02\xff\xfe\x00x"),
    "no topic": packet(PUBLISH, b"\x00\x00\x00x"),
    "another CONNACK": CONNACK,
    "PUBREL": b"\x62\x02\x00\x01",
    "PUBREC": b"\x50\x02\x00\x01",
    "a hundred PINGRESP": b"\xd0\x00" * 100,
}


@pytest.mark.parametrize("garbage", [*GARBAGE, *STRANGE])
def test_garbage(garbage: str, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """What is no MQTT ends the connection, which is reported as such and blamed on no message; the next one works."""
    data = (GARBAGE | STRANGE)[garbage]

    def script(number: int, wire: Wire) -> None:
        for each in wire.packets():
            wire.answer(each)
            if each.kind == SUBSCRIBE and b"t/x" in each.body:
                wire.send((b"" if number else data) + publish("t/x", b"after"))

    received: list[bytes] = []
    with RawBroker(script) as broker:
        link = connect(broker.url)
        link.listen("t/x", lambda message: received.append(message.payload))
        link.announce(USAGE, b"1")
        wait_until(lambda: b"after" in received and link.connected, "the message after it")
        link.stop()

    away = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [each for each in away if "sends what is no MQTT" not in each] == []
    assert len(away) == broker.connections - 1 == (garbage in GARBAGE)


@pytest.mark.parametrize("topic", [STATUS, USAGE])
def test_network_that_fails_at_each_publish(topic: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that resets at one message five times in a row does not silence it on the connection that holds."""
    monkeypatch.setattr(sender, "HELD_BACK_S", 0.5)
    arrived: list[int] = []

    def script(number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == PUBLISH and each.topic == topic:
                arrived.append(number)
                if number < 5 and len(arrived) <= 5:
                    wire.reset()
                    return
            wire.answer(each)

    with RawBroker(script) as broker:
        link = connect(broker.url)
        link.announce(USAGE, b"1")
        wait_until(lambda: len(arrived) > 5 and link.flush(0) and not link.trouble, "the value to arrive after all")
        link.stop()


@pytest.mark.parametrize("reason", [0x00, 0x82, 0x8B, 0x8E, 0x9C, 0x55, None])
def test_broker_that_ends_every_connection(
    reason: int | None, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that ends each connection right away is reported once, and is not connected to without pause."""
    body = b"" if reason is None else bytes([reason, 0])
    ended = threading.Event()

    def script(number: int, wire: Wire) -> None:
        for each in wire.packets():
            wire.answer(each)
            if each.kind == SUBSCRIBE:
                wire.send(packet(14, body))
                if number == 2:
                    ended.set()
                return

    with RawBroker(script) as broker:
        link = connect(broker.url)
        wait_until(ended.is_set, "three connections")
        link.stop()

    assert broker.connections <= 4
    assert 1 <= len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 2


def test_small_steps(connect: Connect) -> None:
    """A broker that takes one unanswered message at a time, and keepalive of its own, gets all values all the same."""
    properties = b"\x21" + struct.pack("!H", 1) + b"\x13" + struct.pack("!H", 2)
    open_ones: list[int] = []
    topics: set[str] = set()

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == CONNECT:
                wire.send(packet(2, b"\0\0" + bytes([len(properties)]) + properties))
                continue
            if each.kind == PUBLISH:
                open_ones.append(each.mid)
                topics.add(each.topic)
                assert len(open_ones) == 1
                open_ones.clear()
            wire.answer(each)

    with RawBroker(script) as broker:
        link = connect(broker.url)
        for n in range(20):
            link.announce(f"t/{n}", b"1")
        wait_until(lambda: len(topics) == 21 and link.flush(0), "all values")
        link.stop()


def test_broker_at_an_ipv6_address(connect: Connect) -> None:
    """A broker is reached at an IPv6 address, which messages write in brackets."""
    with RawBroker(good, host="::1") as broker:
        link = connect(broker.url)
        wait_until(lambda: link.connected, "the connection")

        assert link.endpoint.place == broker.place


@pytest.mark.parametrize(
    "moment", ["before the answer", "after the answer", "at the status", "at the usage", "connected"]
)
def test_stop_at_any_moment(moment: str, connect: Connect) -> None:
    """Whenever `stop` comes, the broker is reported `offline`, or is left with the will that says so."""
    reached, stopped, gone = threading.Event(), threading.Event(), threading.Event()
    said: list[bytes] = []
    farewell: list[int] = []

    def come_to(what: str) -> None:
        if what == moment:
            reached.set()
            stopped.wait(PATIENCE_S)

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == CONNECT:
                come_to("before the answer")
                wire.answer(each)
                come_to("after the answer")
                continue
            if each.kind == PUBLISH and each.topic == STATUS:
                said.append(each.body)
                come_to("at the status")
            if each.kind == PUBLISH and each.topic == USAGE:
                come_to("at the usage")
            if each.kind == DISCONNECT:
                farewell.append(len(said))
            wire.answer(each)
            if each.kind == SUBSCRIBE:
                come_to("connected")
        gone.set()

    with RawBroker(script) as broker:
        link = connect(broker.url)
        link.announce(USAGE, b"1")
        assert reached.wait(PATIENCE_S)
        threading.Thread(target=link.stop).start()
        wait_until(lambda: link._stopping, "the stop to begin")
        stopped.set()
        assert gone.wait(PATIENCE_S)

    assert not farewell or said[-1].endswith(b"offline")


def test_no_wildcards(connect: Connect) -> None:
    """A broker that takes no wildcards in subscriptions is asked for none, and a foreign `offline` is put right."""
    wires: list[Wire] = []
    asked: list[str] = []
    said: list[str] = []

    def script(_number: int, wire: Wire) -> None:
        wires.append(wire)
        for each in wire.packets():
            if each.kind == CONNECT:
                wire.send(packet(2, b"\0\0\2\x28\0"))
            else:
                wire.answer(each)
                asked.extend([each.filter] if each.kind == SUBSCRIBE else [])
                said.extend([each.topic] if each.kind == PUBLISH else [])

    with RawBroker(script) as broker:
        link = connect(broker.url)
        link.listen("claude-gauge/+/usage", lambda _message: None)
        link.announce(USAGE, b"{}")
        assert link.wait_settled(PATIENCE_S)
        assert sorted(said) == [STATUS, USAGE]
        wires[0].send(publish(STATUS, b"offline"))
        wait_until(lambda: said.count(STATUS) == 2, "`online` again")

        assert "takes no + and #" in link.unreadable("claude-gauge/+/usage").what
    assert sorted(asked) == [STATUS, USAGE]


def test_will_that_clears() -> None:
    """A broker that takes a will without a payload for an error is given another one at once."""

    def script(number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == CONNECT and number == 0:
                wire.send(bytes([0x20, 3, 0, 0x82, 0]))
                return
            wire.answer(each)

    with RawBroker(script) as broker:
        link = Link(Settings(broker=broker.url), status=STATUS, leaves_nothing=True)
        link.start()

        assert link.wait_connected(PATIENCE_S)
        link.stop()


def test_moved(connect: Connect) -> None:
    """A broker that sends us to another server names it in our words, without what could move a cursor."""

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            place = b"b.example:8883\x1b[2J"
            properties = b"\x1c" + struct.pack("!H", len(place)) + place
            wire.send(packet(2, bytes([0, 0x9D, len(properties)]) + properties) if each.kind == CONNECT else b"")
            return

    with RawBroker(script) as broker:
        link = connect(broker.url)
        wait_until(lambda: link.trouble, "the trouble")

        assert "has moved, b.example:8883?[2J: if you trust it name that one (--broker)" in link.trouble


@pytest.mark.parametrize(("connack", "comes_back"), [(CONNACK, False), (packet(2, b"\0\0\2\x24\0"), True)])
def test_own_messages_come_back(connect: Connect, connack: bytes, *, comes_back: bool) -> None:
    """Where the broker acknowledges nothing (QoS 0) our own messages come back: nothing else shows what it takes."""
    options: list[int] = []

    def script(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == CONNECT:
                wire.send(connack)
                continue
            wire.answer(each)
            options.extend([each.body[-1]] if each.kind == SUBSCRIBE else [])

    with RawBroker(script) as broker:
        link = connect(broker.url)
        assert link.wait_settled(PATIENCE_S)

    no_local = 4
    assert options
    assert all(bool(each & no_local) is not comes_back for each in options)
