from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, answers, free_port, wait_until

from claude_gauge.config import Settings
from claude_gauge.daemon.broker import embedded
from claude_gauge.daemon.broker.embedded import Embedded, resolve
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link

V311 = MQTTProtocolVersion.MQTTv311
OWNER = """
import pathlib, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_DFL)  # an exception could come while Python clears up, and be lost
from claude_gauge.daemon.broker import embedded
from claude_gauge.config import Settings
broker = embedded.start(Settings(state_dir=pathlib.Path(sys.argv[1])), amqtt=sys.argv[2] == "amqtt")
print(broker.port, broker.pid, flush=True)
threading.Event().wait()
"""

Start = Callable[..., Embedded]


@pytest.fixture(params=["Mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both brokers that may be embedded."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def start(tmp_path: Path, kind: str) -> Iterator[Start]:
    """Starts an embedded broker of this kind and stops it at the end."""
    started: list[Embedded] = []

    def begin(port: int = 0) -> Embedded:
        one = embedded.start(Settings(state_dir=tmp_path / "state"), port=port, amqtt=kind == "amqtt")
        started.append(one)
        return one

    yield begin
    for one in started:
        one.stop()


def memory_kib(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_carries_our_topics(start: Start, kind: str, connect: Connect) -> None:
    """Status and value are retained, QoS 1 is acknowledged, `offline` comes at the end."""
    broker = start()
    link = connect(broker.url)
    link.announce(USAGE, b"1", expiry_s=60)

    assert broker.kind == kind
    assert link.flush(PATIENCE_S), link.trouble
    with Listener(broker.port, "claude-gauge/#", version=V311) as reader:
        assert reader.wait(lambda received: received.topic == USAGE).qos == 1
        reader.wait(lambda received: received.topic == STATUS and received.payload == b"online")
        link.stop()
        reader.wait(lambda received: received.payload == b"offline")


def test_will(start: Start) -> None:
    """A client that dies has its will said."""
    broker = start()
    dying = mqtt.Client(CallbackAPIVersion.VERSION2)
    dying.will_set("will", "dead", 1, retain=True)
    with Listener(broker.port, "will", version=V311) as reader:
        dying.connect("127.0.0.1", broker.port)
        dying.loop_start()
        wait_until(dying.is_connected, "the client to connect")
        dying.loop_stop()
        dying.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        reader.wait(lambda received: received.payload == b"dead")
    dying.socket().close()  # type: ignore[union-attr]
    with Listener(broker.port, "will", version=V311) as late:
        assert late.wait(lambda received: received.payload == b"dead").retained


def test_nothing_unasked(start: Start, connect: Connect) -> None:
    """A client gets what it subscribed to, and nothing that others did."""
    broker = start()
    link = connect(broker.url)
    link.announce(USAGE, b"1")
    assert link.flush(PATIENCE_S)
    with Listener(broker.port, USAGE, version=V311) as other, Listener(broker.port, STATUS, version=V311) as reader:
        other.wait(lambda received: received.topic == USAGE)
        reader.wait(lambda received: received.topic == STATUS)

        assert {received.topic for received in reader.messages} == {STATUS}


def test_five_is_refused_plainly(tmp_path: Path) -> None:
    """The broker that knows no MQTT 5 says so at once, as version 3.1.1 asks for."""
    broker = embedded.start(Settings(state_dir=tmp_path / "state"), amqtt=True)
    try:
        with socket.create_connection(("127.0.0.1", broker.port), 5) as client:
            client.sendall(b"\x10\x10\0\4MQTT\5\2\0\x3c\0\0\3abc")

            assert client.recv(4) == b"\x20\2\0\1"
            assert client.recv(1) == b""
    finally:
        broker.stop()


def test_hundred_subscribers(start: Start, connect: Connect) -> None:
    """A hundred readers all get every value, in order."""
    broker = start()
    link = connect(broker.url)
    readers = [Listener(broker.port, USAGE, version=V311) for _ in range(100)]
    try:
        for number in range(20):
            link.announce(USAGE, b"%d" % number)
            assert link.flush(PATIENCE_S)
        for reader in readers:
            reader.wait(lambda received: received.payload == b"19")
            numbers = [int(received.payload) for received in reader.messages if received.topic == USAGE]
            assert numbers == sorted(numbers)
            assert len(numbers) == 20
    finally:
        for reader in readers:
            reader.close()


def garbage(dice: random.Random) -> bytes:
    """Bytes that are no proper MQTT, some nearly."""
    connect = b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"
    return dice.choice([
        dice.randbytes(dice.randint(1, 300)),
        b"\x10\xff\xff\xff\x7f" + dice.randbytes(100),
        b"\x10\xff\xff\xff\xff\xff",
        connect + dice.randbytes(60),
        connect + b"\x30\x05\0\1a",
        connect + b"\x82\x03\0\1\0",
        connect + b"\x30\xff\xff\xff\x7f\0\1a" + bytes(70_000),
        b"\x30\x05\0\1a",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10",
        b"",
    ])  # fmt: skip


def test_malformed_packets(start: Start, connect: Connect) -> None:
    """Two hundred clients that talk nonsense change nothing for the others, and cost no memory."""
    broker = start()
    link = connect(broker.url)
    assert link.flush(PATIENCE_S)
    dice, before = random.Random(7), memory_kib(broker.pid)
    for number in range(200):
        with socket.create_connection(("127.0.0.1", broker.port)) as peer:
            if number % 3:
                peer.settimeout(PATIENCE_S)
            try:
                peer.sendall(garbage(dice))
            except OSError:
                continue
    link.announce(USAGE, b"still there")

    assert link.flush(PATIENCE_S), link.trouble
    assert link.connected
    assert memory_kib(broker.pid) - before < 16_384


def test_reader_that_does_not_read(start: Start, connect: Connect) -> None:
    """A subscriber that takes nothing does not make the broker grow without end."""
    broker = start()
    link = connect(broker.url)
    assert link.flush(PATIENCE_S)
    with socket.create_connection(("127.0.0.1", broker.port)) as slow:
        slow.sendall(b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1z")
        assert slow.recv(4) == b"\x20\2\0\0"
        slow.sendall(b"\x82\x06\0\1\0\1#\0")
        assert slow.recv(2) == b"\x90\3"
        for _ in range(400):
            _flood(link, 1)
            if _dropped(slow):
                break
        before = memory_kib(broker.pid)
        _flood(link, 100)

        assert memory_kib(broker.pid) - before < 8_192  # of 20 MB sent


def _flood(link: Link, rounds: int) -> None:
    for number in range(rounds):
        for _ in range(25):
            link.send("bulk", bytes(8000))
        link.announce(USAGE, b"%d" % number)
        assert link.flush(PATIENCE_S)


def _dropped(client: socket.socket) -> bool:
    """Whether the broker has ended the connection; one that limits what it queues need not."""
    try:
        client.send(b"\xc0\0")
    except OSError:
        return True
    return False


def test_on_loopback_alone(start: Start) -> None:
    """No other machine can connect."""
    broker = start()
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{broker.port}"], capture_output=True, text=True, check=True)

    assert [line.split()[3] for line in listening.stdout.splitlines()] == [f"127.0.0.1:{broker.port}"]


def test_crashed_broker_comes_back(start: Start, connect: Connect) -> None:
    """An embedded broker that is killed is started again, and the values are there again."""
    broker = start()
    link = connect(broker.url)
    link.announce(USAGE, b"1")
    assert link.flush(PATIENCE_S)
    first = broker.pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: broker.pid != first, "another broker")

    assert link.flush(PATIENCE_S), link.trouble
    with Listener(broker.port, USAGE, version=V311) as reader:
        reader.wait(lambda received: received.payload == b"1")


def gone(pid: int) -> bool:
    """Return whether a process ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_crashed_broker_comes_back_after_its_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that crashes while its files can't be written is started once they can be."""
    caplog.set_level("DEBUG")
    broker = embedded.start(Settings(state_dir=tmp_path))
    log = tmp_path / "broker" / f"broker-{broker.port}.log"
    try:
        log.rename(tmp_path / "away")
        log.mkdir()
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: str(log) in caplog.text, "an attempt that fails")
        log.rmdir()
        wait_until(lambda: answers(broker.port), "the broker to listen again")
    finally:
        broker.stop()


def test_does_not_outlive_its_owner(tmp_path: Path, kind: str) -> None:
    """When the process that started it is killed, the broker ends."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), kind], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as said:
        port, pid = map(int, said.readline().split())
    assert answers(port)
    owner.kill()
    owner.wait(PATIENCE_S)

    wait_until(lambda: gone(pid), "the broker to end")
    assert not answers(port)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_terminal_is_closed_on_its_owner(tmp_path: Path, kind: str, number: int) -> None:
    """A signal that the terminal sends to all in it ends the owner first, and with it the broker."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    with owner.stdout as said:
        _port, pid = map(int, said.readline().split())
    os.killpg(owner.pid, number)
    owner.wait(PATIENCE_S)

    wait_until(lambda: gone(pid), "the broker to end")


def test_stop_twice(start: Start) -> None:
    """A stopped broker is gone, and may be stopped again."""
    broker = start()
    broker.stop()
    broker.stop()

    assert not answers(broker.port)
    assert gone(broker.pid)


@pytest.mark.parametrize("listening", [True, False])
def test_port_in_use(start: Start, listening: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A port that is taken by something else is an error in one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if listening:
            taken.listen()
        with pytest.raises(GaugeError, match=f"did not start on port {port}|port {port} is in use"):
            start(port)


def test_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A state folder that is a file is an error that names the setting."""
    (tmp_path / "file").touch()

    with pytest.raises(GaugeError, match="state_dir"):
        embedded.start(Settings(state_dir=tmp_path / "file"))


def settings(tmp_path: Path, broker: str | None = None) -> Settings:
    """Settings with this broker and a state folder of the test's own."""
    return Settings(broker=broker, state_dir=tmp_path / "state")


def test_named_broker_is_taken(tmp_path: Path) -> None:
    """A broker that was named is taken, there or not."""
    url, started, line = resolve(settings(tmp_path, "mqtt://me@elsewhere.example"))

    assert (url, started) == ("mqtt://me@elsewhere.example", None)
    assert line == "broker elsewhere.example:1883"


def test_broker_on_this_machine_is_taken(tmp_path: Path, broker: Mosquitto) -> None:
    """Without a name, one that answers on this machine is taken."""
    url, started, line = resolve(settings(tmp_path), port=broker.port)

    assert (url, started) == (f"mqtt://localhost:{broker.port}", None)
    assert "found" in line


@pytest.mark.parametrize("named", [None, "embedded"])
def test_own_broker_is_started(tmp_path: Path, named: str | None) -> None:
    """Where there is none, one is started on the usual port, and the line says how to move on."""
    port = free_port()
    url, started, line = resolve(settings(tmp_path, named), port=port)
    assert started is not None
    started.stop()

    assert url == f"mqtt://127.0.0.1:{port}"
    assert "broker init" in line
    assert "\n" not in line


def test_embedded_beside_another(tmp_path: Path, broker: Mosquitto) -> None:
    """Told to embed one while another has the usual port, a free port is taken."""
    url, started, _line = resolve(settings(tmp_path, "embedded"), port=broker.port)
    assert started is not None
    started.stop()

    assert started.port != broker.port
    assert url == started.url


def test_two_at_once(tmp_path: Path) -> None:
    """Two publishers that start at the same moment share one broker."""
    port, resolved = free_port(), []

    def begin(number: int) -> None:
        resolved.append(resolve(settings(tmp_path / str(number)), port=port))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = [started for _url, started, _line in resolved if started]
    for owner in owners:
        owner.stop()

    assert len(resolved) == 4
    assert len(owners) == 1
    assert json.dumps([url for url, _, _ in resolved]).count(f":{port}") == 4
