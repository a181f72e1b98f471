from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until

from claude_gauge.config import Settings
from claude_gauge.mqtt.link import Link

STATUS, USAGE = "claude-gauge/here/status", "claude-gauge/here/usage"

Connect = Callable[[str], Link]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes publishing links and stops them at the end."""
    links: list[Link] = []

    def make(url: str) -> Link:
        link = Link(Settings(broker=url), status=STATUS)
        links.append(link)
        link.start()
        return link

    yield make
    for link in links:
        link.stop()


def test_online_and_newest_value_are_retained(broker: Mosquitto, connect: Connect) -> None:
    """A late subscriber gets `online` and the newest value of a topic, nothing older."""
    link = connect(broker.url)
    for number in range(100):
        link.announce(USAGE, b"%d" % number)

    assert link.flush(10)
    with Listener(broker.port) as late:
        late.wait(lambda heard: heard.topic == USAGE)
        late.wait(lambda heard: heard.topic == STATUS)
        assert {(heard.topic, heard.payload) for heard in late.messages} == {(STATUS, b"online"), (USAGE, b"99")}


def test_311_subscriber(broker: Mosquitto, connect: Connect) -> None:
    """A reader that speaks 3.1.1 gets what was published with MQTT 5."""
    link = connect(broker.url)
    link.announce(USAGE, b"1", expiry_s=60)

    assert link.flush(10)
    assert link.version == "MQTT 5"
    with Listener(broker.port, USAGE, version=MQTTProtocolVersion.MQTTv311) as reader:
        assert reader.wait(lambda heard: heard.payload == b"1").retained


def test_stop_says_offline_once(broker: Mosquitto, connect: Connect) -> None:
    """`stop` leaves `offline` retained, said by us and not by the will."""
    link = connect(broker.url)
    with Listener(broker.port, STATUS) as reader:
        reader.wait(lambda heard: heard.payload == b"online")
        link.stop()
        reader.wait(lambda heard: heard.payload == b"offline")
        reader.client.publish(STATUS, b"end")
        reader.wait(lambda heard: heard.payload == b"end")

        assert [heard.payload for heard in reader.messages].count(b"offline") == 1


def test_broker_that_comes_late(broker: Mosquitto, connect: Connect) -> None:
    """A link started before its broker connects as soon as that is there."""
    broker.stop()
    link = connect(broker.url)
    link.announce(USAGE, b"1")
    wait_until(lambda: "nothing listens there" in link.trouble, "the trouble to be told")
    broker.start()

    assert link.wait_connected(10)
    assert link.trouble == ""
    with Listener(broker.port, USAGE) as reader:
        reader.wait(lambda heard: heard.payload == b"1")


def test_listens_again_after_a_restart(broker: Mosquitto, connect: Connect) -> None:
    """A handler gets messages after the broker was away."""
    heard: list[bytes] = []
    link = connect(broker.url)
    link.listen("some/+", lambda _topic, payload, _retained: heard.append(payload))
    assert link.wait_connected(10)
    broker.kill()
    wait_until(lambda: not link.connected, "the link to notice")
    broker.start()
    assert link.wait_connected(10)
    with Listener(broker.port) as other:
        other.client.publish("some/topic", b"x", qos=1, retain=True).wait_for_publish(10)

        wait_until(lambda: b"x" in heard, "the message")
