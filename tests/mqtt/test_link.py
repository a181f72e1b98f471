from __future__ import annotations

import os
import socket
import threading
import time

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, wait_until
from tests.support.raw_broker import PUBACK, PUBLISH, RawBroker, Wire, packet

from claude_gauge.mqtt.connection import Connection, close_sockets
from claude_gauge.mqtt.trouble import Report


def test_online_and_newest_value_are_retained(broker: Mosquitto, connect: Connect) -> None:
    """A late subscriber gets `online` and the newest value of a topic, nothing older."""
    link = connect(broker.url)
    for number in range(100):
        link.announce(USAGE, b"%d" % number)

    assert link.flush(PATIENCE_S)
    with Listener(broker.port) as late:
        late.wait(lambda received: received.topic == USAGE)
        late.wait(lambda received: received.topic == STATUS)
        assert {(received.topic, received.payload) for received in late.messages} == {
            (STATUS, b"online"),
            (USAGE, b"99"),
        }


def test_311_subscriber(broker: Mosquitto, connect: Connect) -> None:
    """A reader that speaks 3.1.1 gets what was published with MQTT 5."""
    link = connect(broker.url)
    link.announce(USAGE, b"1", expiry_s=60)

    assert link.flush(PATIENCE_S)
    assert link.version == "MQTT 5"
    with Listener(broker.port, USAGE, version=MQTTProtocolVersion.MQTTv311) as reader:
        assert reader.wait(lambda received: received.payload == b"1").retained


def test_expired_value_is_gone(broker: Mosquitto, connect: Connect) -> None:
    """A late subscriber gets no value that is older than its expiry."""
    link = connect(broker.url)
    link.announce(USAGE, b"old", expiry_s=2)
    assert link.flush(PATIENCE_S)
    with Listener(broker.port, USAGE) as early:
        early.wait(lambda received: received.retained)
    link.stop()

    def nothing_kept() -> bool:
        with Listener(broker.port, "claude-gauge/#") as late:
            late.wait(lambda received: received.topic == STATUS)
            late.client.publish("claude-gauge/end", b"", qos=1)
            late.wait(lambda received: received.topic == "claude-gauge/end")
            return all(received.topic != USAGE for received in late.messages)

    wait_until(nothing_kept, "the value to expire")


def test_stop_says_offline_once(broker: Mosquitto, connect: Connect) -> None:
    """`stop` leaves `offline` retained, said by us and not by the will."""
    link = connect(broker.url)
    with Listener(broker.port, STATUS) as reader:
        reader.wait(lambda received: received.payload == b"online")
        link.stop()
        reader.wait(lambda received: received.payload == b"offline")
        reader.client.publish(STATUS, b"end")
        reader.wait(lambda received: received.payload == b"end")

        assert [received.payload for received in reader.messages].count(b"offline") == 1


def test_stop_delivers_the_last_value(broker: Mosquitto, connect: Connect) -> None:
    """What was announced just before `stop` arrives, and before `offline`."""
    link = connect(broker.url)
    assert link.wait_connected(PATIENCE_S)
    with Listener(broker.port, "claude-gauge/#") as reader:
        link.announce(USAGE, b"last")
        link.stop()
        reader.wait(lambda received: received.payload == b"offline")

        assert [received.payload for received in reader.messages][-2:] == [b"last", b"offline"]


def test_stop_before_start(connect: Connect, broker: Mosquitto) -> None:
    """A link may be stopped twice, and one that never reached its broker too."""
    broker.stop()
    link = connect(broker.url)
    link.stop()
    link.stop()

    assert not link.connected


def test_send_goes_out_once(broker: Mosquitto, connect: Connect) -> None:
    """`send` sends once while connected, and says when there is no connection."""
    link = connect(broker.url)
    with Listener(broker.port, "once") as reader:
        assert link.wait_connected(PATIENCE_S)
        assert link.send("once", b"1")
        reader.wait(lambda received: received.payload == b"1")
        broker.kill()
        wait_until(lambda: not link.connected, "the link to notice")

        assert not link.send("once", b"2")


def test_handler_that_fails(broker: Mosquitto, connect: Connect) -> None:
    """A handler that raises does not keep others from their messages, nor end the link."""
    received: list[bytes] = []

    def fail(*_: object) -> None:
        raise ValueError("broken reader")

    link = connect(broker.url, status=None)
    link.listen("some/#", fail)
    link.listen("some/+", lambda message: received.append(message.payload))
    assert link.wait_connected(PATIENCE_S)
    with Listener(broker.port) as other:
        other.client.publish("some/topic", b"1", qos=1, retain=True)
        wait_until(lambda: received, "the first message")
        other.client.publish("some/topic", b"2", qos=1, retain=True)

        wait_until(lambda: b"2" in received, "the second message")


def test_announced_from_many_threads(broker: Mosquitto, connect: Connect) -> None:
    """Values announced from many threads at once all arrive, each topic ending with its newest."""
    link = connect(broker.url)

    def announce(name: int) -> None:
        for number in range(50):
            link.announce(f"claude-gauge/here/{name}", b"%d" % number)

    threads = [threading.Thread(target=announce, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert link.flush(PATIENCE_S)
    with Listener(broker.port, "claude-gauge/here/+") as late:
        for name in range(8):
            late.wait(lambda received, name=name: received.topic.endswith(f"/{name}") and received.payload == b"49")  # type: ignore[misc]


def test_two_links_of_one_process(broker: Mosquitto, connect: Connect) -> None:
    """Two links never throw each other out: their client ids differ."""
    links = [connect(broker.url, status=None) for _ in range(5)]
    for link in links:
        assert link.wait_connected(PATIENCE_S)
        link.announce("claude-gauge/x", b"1")
        assert link.flush(PATIENCE_S)

    assert all(link.connected for link in links)
    assert "already connected" not in broker.log.read_text()


def test_idle_link_hardly_wakes(broker: Mosquitto, connect: Connect) -> None:
    """A link with nothing to do lets its thread sleep: under one wake-up a second."""
    link = connect(broker.url)
    link.announce(USAGE, b"1")
    assert link.flush(PATIENCE_S)
    stat = f"/proc/self/task/{link._thread.native_id}/status"

    def switches() -> int:
        with open(stat, encoding="ascii") as status:  # noqa: PTH123 - a kernel file, read whole
            return int(next(line for line in status if line.startswith("voluntary")).split()[1])

    before, began = switches(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 4, "four idle seconds")

    assert switches() - before <= 4


def test_no_descriptor_left() -> None:
    """A socket that could not be made, for want of a descriptor, is passed over; one that was made is closed."""
    with socket.socket() as whole:
        half = socket.socket.__new__(socket.socket)  # what is left of one in whose making the system said no
        try:
            os.open("no such folder/x", os.O_RDONLY)
        except OSError as error:
            close_sockets(error)

        assert (half.fileno(), whole.fileno()) == (-1, -1)


@pytest.mark.parametrize("moment", ["before it is sent", "before the refusal is noted"])
def test_done_is_not_asked_in_the_middle(connect: Connect, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A message that is on its way from the outbox to the network, or whose refusal is being noted, is not done."""
    asked: list[bool] = []
    owner, name = (Connection, "publish") if moment == "before it is sent" else (Report, "refused")
    original = getattr(owner, name)

    def observed(self: object, *arguments: object) -> object:
        asked.append(link.flush(0))
        return original(self, *arguments)

    def refuse(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == PUBLISH:
                wire.send(packet(PUBACK, each.mid.to_bytes(2, "big") + b"\x87\0"))
            else:
                wire.answer(each)

    with RawBroker(refuse) as broker:
        link = connect(broker.url, status=None)
        assert link.wait_connected(PATIENCE_S)
        monkeypatch.setattr(owner, name, observed)
        link.announce(USAGE, b"1")

        assert link.flush(PATIENCE_S)
        assert link.refusal(USAGE).what
        assert asked == [False]
