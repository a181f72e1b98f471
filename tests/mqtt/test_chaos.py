from __future__ import annotations

import random
import signal
import threading

import pytest
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until


def strike(dice: random.Random, broker: Mosquitto, pause: threading.Event) -> None:
    """Do the broker, or our topics, some harm, and end with the broker running."""
    match dice.choice(["kill", "restart", "freeze", "others"]):
        case "kill":
            broker.kill()
            pause.wait(dice.random() / 2)
            broker.start()
        case "restart":
            broker.stop()
            broker.start()
        case "freeze":
            broker.send(signal.SIGSTOP)
            pause.wait(dice.random())
            broker.send(signal.SIGCONT)
        case "others":
            with Listener(broker.port, "none") as other:
                topic = dice.choice([STATUS, USAGE])
                other.client.publish(topic, dice.choice([b"", b"offline", b"junk"]), qos=1, retain=True)


@pytest.mark.parametrize("seed", range(4))
def test_any_trouble_in_any_order(
    broker: Mosquitto, connect: Connect, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever happens to the broker, in the end it holds `online` and the newest value, and readers have it."""
    monkeypatch.setattr("claude_gauge.mqtt.link.ACK_S", 0.4)
    monkeypatch.setattr("claude_gauge.mqtt.link.CONNACK_S", 0.6)
    dice, pause = random.Random(seed), threading.Event()
    link = connect(broker.url)
    reader = connect(broker.url, status=None)
    seen: list[bytes] = []
    reader.listen(USAGE, lambda message: seen.append(message.payload))
    for number in range(12):
        link.announce(USAGE, b"%d" % number)
        if dice.random() < 0.6:
            strike(dice, broker, pause)
        pause.wait(dice.random() / 10)
    link.announce(USAGE, b"last")

    def settled() -> bool:
        with Listener(broker.port, "claude-gauge/#") as late:
            late.client.publish("claude-gauge/end", b"", qos=1)
            late.wait(lambda received: received.topic == "claude-gauge/end")
            held = {(received.topic, received.payload) for received in late.messages if received.retained}
            return held == {(STATUS, b"online"), (USAGE, b"last")}

    wait_until(settled, "the broker to hold what is true")
    wait_until(lambda: seen[-1:] == [b"last"], "the reader to have it")
