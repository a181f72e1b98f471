from __future__ import annotations

from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S


def test_late_subscriber_gets_retained(broker: Mosquitto) -> None:
    """What is published retained reaches one who subscribes later."""
    with Listener(broker.port) as first:
        first.client.publish("a/b", b"1", qos=1, retain=True).wait_for_publish(PATIENCE_S)
        first.wait(lambda received: received.topic == "a/b")

    with Listener(broker.port) as late:
        assert late.wait(lambda received: received.topic == "a/b").retained
