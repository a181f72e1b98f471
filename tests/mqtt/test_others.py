from __future__ import annotations

import json

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.mqtt.endpoint import FIVE, NAMES, THREE

OWN = json.dumps({"rate_1m": 1, "updated_at": "2026-11-23T14:00:00.000Z"}).encode()
FOREIGN = json.dumps({"rate_1m": 2, "updated_at": "2026-11-23T14:00:01.000Z"}).encode()


versions = pytest.mark.parametrize("version", [FIVE, THREE], ids=["mqtt5", "mqtt311"])  # 3.1.1 echoes to the sender


def after(other: Listener, said: bytes) -> int:
    """Wait for what was said, and return the place of what came next."""
    other.wait(lambda received: received.payload == said)
    return 1 + max(place for place, received in enumerate(other.messages) if received.payload == said)


def echo(other: Listener) -> None:
    """Wait until all that was published before has been through the broker."""
    other.client.publish("end", b"", qos=1)
    other.wait(lambda received: received.topic == "end")


@pytest.mark.parametrize("said", [b"offline", b"", b"\xff\x00 garbage"], ids=["offline", "cleared", "garbage"])
@versions
def test_status_is_put_right(broker: Mosquitto, connect: Connect, version: MQTTProtocolVersion, said: bytes) -> None:
    """While we live, whoever says otherwise on our status topic is put right."""
    connect(broker.url, version=version)
    with Listener(broker.port) as other:
        other.wait(lambda received: received.topic == STATUS)
        other.client.publish(STATUS, said, qos=1, retain=True)

        other.wait(lambda received: received.payload == b"online", after=after(other, said))


@pytest.mark.parametrize("said", [b"{", b"", b"[]", b"\xff" * 5000, b"0"])
@versions
def test_garbage_on_our_usage(broker: Mosquitto, connect: Connect, version: MQTTProtocolVersion, said: bytes) -> None:
    """Garbage on our usage topic is replaced by our newest value."""
    link = connect(broker.url, version=version)
    link.announce(USAGE, OWN)
    assert link.flush(PATIENCE_S)
    with Listener(broker.port) as other:
        other.wait(lambda received: received.payload == OWN)
        other.client.publish(USAGE, said, qos=1, retain=True)

        other.wait(lambda received: received.payload == OWN, after=after(other, said))
    assert not link.rival


@versions
def test_second_publisher(
    broker: Mosquitto, connect: Connect, version: MQTTProtocolVersion, caplog: pytest.LogCaptureFixture
) -> None:
    """A second publisher of our node elsewhere is reported once, and never fought."""
    link = connect(broker.url, version=version)
    link.announce(USAGE, OWN)
    assert link.flush(PATIENCE_S)
    with Listener(broker.port) as other:
        for _ in range(5):
            other.client.publish(USAGE, FOREIGN, qos=1, retain=True)
        wait_until(lambda: link.rival, "the rival to be noticed")
        wait_until(lambda: "another publisher" in caplog.text, "the warning")
        echo(other)

        assert [
            received.payload for received in other.messages if received.topic == USAGE and not received.retained
        ] == [FOREIGN] * 5
    assert caplog.text.count("another publisher") == 1
    assert "--node" in link.trouble


@versions
def test_own_values_are_no_rival(broker: Mosquitto, connect: Connect, version: MQTTProtocolVersion) -> None:
    """What we publish ourselves is never taken for another publisher's, nor repeated."""
    link = connect(broker.url, version=version)
    values = [OWN.replace(b"1", b"%d" % number, 1) for number in range(200)]
    with Listener(broker.port, USAGE) as reader:
        for value in values:
            link.announce(USAGE, value)
            assert link.flush(PATIENCE_S)
        reader.wait(lambda received: received.payload == values[-1])

        assert [received.payload for received in reader.messages] == values
    assert not link.rival
    assert link.version == NAMES[version]


def test_two_links_share_a_node(broker: Mosquitto, connect: Connect) -> None:
    """Two publishers of one node both see it; when one stops, the other says `online` again."""
    first, second = connect(broker.url), connect(broker.url)
    first.announce(USAGE, OWN)
    second.announce(USAGE, FOREIGN)
    assert first.flush(PATIENCE_S)
    assert second.flush(PATIENCE_S)
    first.announce(USAGE, OWN.replace(b"00.000Z", b"09.000Z"))
    second.announce(USAGE, FOREIGN.replace(b"01.000Z", b"08.000Z"))
    wait_until(lambda: first.rival and second.rival, "both to notice")
    with Listener(broker.port, STATUS) as reader:
        second.stop()

        reader.wait(lambda received: received.payload == b"online", after=after(reader, b"offline"))


def test_flood_of_garbage(broker: Mosquitto, connect: Connect) -> None:
    """Someone who floods our topic does not make us flood it too, and we have the last word."""
    link = connect(broker.url)
    link.announce(USAGE, OWN)
    assert link.flush(PATIENCE_S)
    with Listener(broker.port) as other:

        def ours() -> list[Received]:
            return [received for received in other.messages if received.payload == OWN and not received.retained]

        for number in range(300):
            other.client.publish(USAGE, b"junk %d" % number, qos=1, retain=True)
        other.wait(lambda received: received.payload == OWN, after=after(other, b"junk 299"))

        assert len(ours()) <= 5
