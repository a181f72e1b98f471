from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import PATIENCE_S, wait_until
from tests.support.proxy import Proxy

PUBLISHER = """
import sys, threading
from claude_gauge.config import Settings
from claude_gauge.mqtt.link import Link
link = Link(Settings(broker=sys.argv[1]), status="claude-gauge/here/status")
link.start()
link.announce("claude-gauge/here/usage", b"1", expiry_s=60)
link.flush(10)
print("there", flush=True)
threading.Event().wait()
"""


def online(received: Received) -> bool:
    """Return whether this is `online`."""
    return received.topic == STATUS and received.payload == b"online"


def offline(received: Received) -> bool:
    """Return whether this is `offline`."""
    return received.topic == STATUS and received.payload == b"offline"


def test_broker_that_comes_late(broker: Mosquitto, connect: Connect) -> None:
    """A link started before its broker connects as soon as that is there."""
    broker.stop()
    link = connect(broker.url)
    link.announce(USAGE, b"1")
    wait_until(lambda: "nothing listens there" in link.trouble, "the trouble to be reported")
    broker.start()

    assert link.wait_connected(PATIENCE_S)
    assert link.trouble == ""
    with Listener(broker.port, USAGE) as reader:
        reader.wait(lambda received: received.payload == b"1")


def test_broker_killed_without_a_store(broker: Mosquitto, connect: Connect) -> None:
    """A broker that lost everything has status and newest value again, without a new announcement."""
    link = connect(broker.url)
    link.announce(USAGE, b"1", expiry_s=60)
    assert link.flush(PATIENCE_S)
    broker.kill()
    wait_until(lambda: not link.connected, "the link to notice")
    broker.start()

    assert link.flush(PATIENCE_S)
    with Listener(broker.port) as late:
        late.wait(online)
        late.wait(lambda received: received.topic == USAGE and received.payload == b"1")


def test_broker_killed_with_a_store(tmp_path: Path, connect: Connect) -> None:
    """A broker that kept old values gets the newest one, also when that came while it was away."""
    store = ("persistence true", f"persistence_location {tmp_path}/broker/", "autosave_interval 1")
    with Mosquitto(tmp_path / "broker", *store, "autosave_on_changes true") as broker:
        link = connect(broker.url)
        link.announce(USAGE, b"old")
        assert link.flush(PATIENCE_S)
        broker.kill()
        wait_until(lambda: not link.connected, "the link to notice")
        link.announce(USAGE, b"new")
        broker.start()

        assert link.flush(PATIENCE_S)
        with Listener(broker.port) as late:
            assert late.wait(lambda received: received.topic == USAGE).payload == b"new"


def test_one_value_after_an_outage(broker: Mosquitto, connect: Connect) -> None:
    """Of all that was announced during an outage only the newest goes out, and once."""
    link = connect(broker.url)
    assert link.wait_connected(PATIENCE_S)
    broker.kill()
    wait_until(lambda: not link.connected, "the link to notice")
    for number in range(50):
        link.announce(USAGE, b"%d" % number)
    broker.start()
    with Listener(broker.port, "claude-gauge/#") as reader:
        assert link.flush(PATIENCE_S)
        link.announce("claude-gauge/here/end", b"")
        reader.wait(lambda received: received.topic == "claude-gauge/here/end")

        assert [received.payload for received in reader.messages if received.topic == USAGE] == [b"49"]


def test_frozen_broker(broker: Mosquitto, connect: Connect) -> None:
    """A broker that freezes gets the newest value when it thaws, not the hundreds between."""
    link = connect(broker.url)
    with Listener(broker.port, USAGE) as reader:
        assert link.wait_connected(PATIENCE_S)
        broker.send(signal.SIGSTOP)
        for number in range(500):
            link.announce(USAGE, b"%d" % number)
            if number % 50 == 0:
                wait_until(lambda: True, "a turn of the link")
        broker.send(signal.SIGCONT)
        reader.wait(lambda received: received.payload == b"499")

        assert len(reader.messages) < 50


def test_clogged_network(broker: Mosquitto, connect: Connect) -> None:
    """What the network does not take waits, and goes out whole and newest when it flows again."""
    link = connect(broker.url)
    assert link.flush(PATIENCE_S)
    broker.send(signal.SIGSTOP)
    for number in range(20):
        link.announce(f"claude-gauge/here/{number}", b"old" * 300_000)
    wait_until(lambda: link._connection is not None and link._connection.clogged, "the network to be full")
    for number in range(20):
        link.announce(f"claude-gauge/here/{number}", b"%d" % number)
    broker.send(signal.SIGCONT)

    assert link.flush(PATIENCE_S), link.trouble
    with Listener(broker.port, "claude-gauge/here/+") as late:
        for number in range(20):
            late.wait(lambda received, number=number: received.payload == b"%d" % number)  # type: ignore[misc]


def test_broker_frozen_for_long(broker: Mosquitto, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that thaws after the link gave it up several times ends with `online` and the newest value."""
    monkeypatch.setattr("claude_gauge.mqtt.link.ACK_S", 0.3)
    monkeypatch.setattr("claude_gauge.mqtt.link.CONNACK_S", 0.5)

    def settled() -> bool:
        with Listener(broker.port, "claude-gauge/#") as reader:
            reader.wait(lambda received: received.topic == USAGE)
            reader.wait(lambda received: received.topic == STATUS)
            return {received.payload for received in reader.messages} == {b"online", b"new"}

    with Proxy(broker.port) as proxy:
        link = connect(proxy.url)
        link.announce(USAGE, b"old")
        assert link.flush(PATIENCE_S)
        broker.send(signal.SIGSTOP)
        link.announce(USAGE, b"new")
        wait_until(lambda: "does not answer" in link.trouble, "the link to give up and try again")
        attempts = proxy.accepted
        wait_until(lambda: proxy.accepted > attempts + 2, "some more attempts")
        broker.send(signal.SIGCONT)
        assert link.wait_connected(PATIENCE_S)

        wait_until(settled, "the broker to hold what is true")
        assert link.version == "MQTT 5"
        link.stop()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the link wait for a broker longer than a test may last."""
    for name in ("connection.CONNECT_S", "link.CONNACK_S", "link.DOUBT_S", "link.ACK_S"):
        monkeypatch.setattr(f"claude_gauge.mqtt.{name}", 1000.0)


@pytest.mark.usefixtures("endless")
def test_stop_while_connecting(connect: Connect) -> None:
    """`stop` waits for no answer to a connection though the network swallows every packet."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # fills the queue: the next one gets no answer
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0)
                filler.connect_ex(address)
            link = connect(f"mqtt://127.0.0.1:{address[1]}")
            link.stop()

            assert not link.connected


def test_more_files_than_select_takes(broker: Mosquitto, connect: Connect) -> None:
    """A process with over a thousand open files still reaches its broker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(1200):
            newest = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, newest)
        assert newest > 1024  # and so are all that are opened from now on
        link = connect(broker.url)
        link.announce(USAGE, b"1")

        assert link.flush(PATIENCE_S), link.trouble
        link.stop()


@pytest.mark.usefixtures("endless")
def test_stop_beside_a_frozen_broker(broker: Mosquitto, connect: Connect) -> None:
    """`stop` waits for no answer of a frozen broker; thawed, it says `offline`."""
    link = connect(broker.url)
    assert link.flush(PATIENCE_S)
    broker.send(signal.SIGSTOP)
    link.stop()
    broker.send(signal.SIGCONT)

    with Listener(broker.port, STATUS) as reader:
        reader.wait(offline)


def test_killed_publisher(broker: Mosquitto) -> None:
    """When a publisher is killed its will says `offline` at once."""
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER, broker.url], stdout=subprocess.PIPE)
    assert publisher.stdout is not None
    with Listener(broker.port, STATUS) as reader, publisher.stdout:
        assert publisher.stdout.readline() == b"there\n"
        reader.wait(online)
        publisher.kill()
        publisher.wait(PATIENCE_S)

        assert not reader.wait(offline).retained


def test_listens_again_after_a_restart(broker: Mosquitto, connect: Connect) -> None:
    """A handler gets messages after the broker was away."""
    received: list[bytes] = []
    link = connect(broker.url)
    link.listen("some/+", lambda message: received.append(message.payload))
    assert link.wait_connected(PATIENCE_S)
    broker.kill()
    wait_until(lambda: not link.connected, "the link to notice")
    broker.start()
    assert link.wait_connected(PATIENCE_S)
    with Listener(broker.port) as other:
        other.client.publish("some/topic", b"x", qos=1, retain=True).wait_for_publish(PATIENCE_S)

        wait_until(lambda: b"x" in received, "the message")
