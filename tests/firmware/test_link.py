"""The way to the broker, with all that can be wrong with it."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.firmware.boards import Sender, board, fresh, hurried, linked, reported, rests, shows
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import free_port

from claude_gauge.apps.broker.certificates import issue, make_ca
from claude_gauge.apps.device.virtual_board import VirtualBoard
from gauge.link import client_id

CONNACK, SUBACK = b"\x20\x02\x00\x00", b"\x90\x04\x00\x01\x01\x01"


class Hostile(socketserver.ThreadingTCPServer):
    """Answers each connection with the next of some bytes and closes; after the last it is a plain relay."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answers: list[bytes], port: int) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.answers, self.broker = answers, port
        self.connections = 0

    def finish_request(self, request: object, _address: object) -> None:
        """Serve one connection."""
        assert isinstance(request, socket.socket)
        self.connections += 1
        if self.answers:
            request.recv(1024)
            request.sendall(self.answers.pop(0))
            return
        with socket.create_connection(("127.0.0.1", self.broker)) as broker:
            threading.Thread(target=_pass, args=(broker, request), daemon=True).start()
            _pass(request, broker)


def _pass(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(4096):
            sink.sendall(data)
    except OSError:
        return


@contextmanager
def hostile(answers: list[bytes], port: int) -> Iterator[Hostile]:
    """Run one."""
    with Hostile(answers, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_hostile_bytes_never_crash(broker: Mosquitto, tmp_path: Path) -> None:
    """Whatever a peer sends, the board begins again, and shows what a good broker says."""
    answers = [
        os.urandom(2000),
        CONNACK + SUBACK + b"\x30\xff\xff\xff\xff\x01",
        CONNACK + SUBACK + b"\x32\x05\x00\x03a/b",
        CONNACK + b"\x30",
    ]
    with hostile(answers, broker.port) as server, board(tmp_path / "flash", server.server_address[1]) as gauge:
        linked(gauge, 2)
        assert server.connections == 5
        with Sender(broker.port) as sender:
            sender.send(fresh(window_5h_pct=0.5))

            shows(gauge, 0.5, 0, 0, 0)
        assert gauge.starts == 1


def test_broker_comes_late(tmp_path: Path) -> None:
    """A board that starts before its broker waits, flashing STALL, and finds it."""
    broker = Mosquitto(tmp_path / "broker")
    with board(tmp_path / "flash", broker.port) as gauge:
        rests(gauge)
        assert gauge.wait(lambda: gauge.lamps[3] == "000000"), "STALL should flash"
        with broker:
            linked(gauge)


def test_frozen_broker_is_left(broker: Mosquitto, tmp_path: Path) -> None:
    """A broker that hangs for longer than the keepalive allows is left, and found again."""
    with board(tmp_path / "flash", broker.port, keepalive_s=2) as gauge:
        linked(gauge)
        broker.send(signal.SIGSTOP)
        assert gauge.wait(lambda: any("silent" in line for line in gauge.log)), gauge.log
        broker.send(signal.SIGCONT)

        linked(gauge, 2)


def test_keepalive_holds_a_quiet_session(broker: Mosquitto, tmp_path: Path) -> None:
    """With nothing to say on either side, pings hold the session."""
    with board(tmp_path / "flash", broker.port, keepalive_s=2) as gauge:
        linked(gauge)

        assert not gauge.wait(lambda: len([line for line in gauge.log if line.startswith("link:")]) > 1, 7), gauge.log


def test_user_and_password(tmp_path: Path) -> None:
    """A broker that asks who we are is reported; a wrong password is said, and tried again."""
    passwords = tmp_path / "passwords"
    passwords.touch()
    passwords.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "me", "right"], check=True, capture_output=True)
    with Mosquitto(tmp_path / "broker", f"password_file {passwords}", anonymous=False) as broker:
        with board(tmp_path / "good", broker.port, broker={"user": "me", "password": "right"}) as gauge:
            linked(gauge)
        with board(tmp_path / "bad", broker.port, broker={"user": "me", "password": "wrong"}) as gauge:
            assert gauge.wait(lambda: sum("refuses us: code 5" in line for line in gauge.log) > 1), gauge.log
            assert not any("wrong" in line for line in gauge.log)


def test_wifi_is_asked_again(broker: Mosquitto, tmp_path: Path) -> None:
    """An access point that ignores the first attempt is asked again; then all is as ever, signal included."""
    network = {"ssid": "home", "password": "x"}
    flash = hurried(tmp_path / "flash", "wifi", TRY_MS=2_000)
    with (
        Listener(broker.port, "claude-gauge/device/+/diagnostics") as listener,
        board(flash, broker.port, wifi=network, virtual={"wifi_refusals": 1}) as gauge,
    ):
        linked(gauge)

        assert reported(listener.wait(lambda received: bool(received.payload)).payload)["rssi"] == -50


class Secured:
    """A broker with a certificate for these hosts, and a board's flash that trusts a CA."""

    def __init__(self, folder: Path, hosts: list[str], *, trusted: bool = True) -> None:
        now = datetime.now(UTC)
        authority = make_ca("test", now)
        pair = issue(authority, "broker", now, hosts=hosts)
        for name, content in (("b.crt", pair.certificate), ("b.key", pair.key)):
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o644)
        self.flash = folder / "flash"
        self.flash.mkdir()
        known = authority if trusted else make_ca("other", now)
        (self.flash / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(known.certificate.decode()))
        self.broker = Mosquitto(folder / "broker", f"certfile {folder}/b.crt", f"keyfile {folder}/b.key")

    @contextmanager
    def board(self) -> Iterator[VirtualBoard]:
        """Run both."""
        secure = {"host": "localhost", "ca": "ca.der"}
        with self.broker as broker, board(self.flash, broker.port, broker=secure) as gauge:
            yield gauge


def test_tls(tmp_path: Path) -> None:
    """A broker whose certificate the CA on the board signed is spoken to in secret."""
    with Secured(tmp_path, ["localhost"]).board() as gauge:
        linked(gauge)


@pytest.mark.parametrize(("hosts", "trusted"), [(["localhost"], False), (["elsewhere.example"], True)])
def test_tls_refuses_strangers(tmp_path: Path, hosts: list[str], *, trusted: bool) -> None:
    """A certificate of another CA, or for another host, is none: the board says so and stays away."""
    with Secured(tmp_path, hosts, trusted=trusted).board() as gauge:
        assert gauge.wait(lambda: sum("link:" in line for line in gauge.log) > 1), gauge.log
        assert not any("connected" in line or "Traceback" in line for line in gauge.log)


def test_no_broker_at_all(tmp_path: Path) -> None:
    """Without a broker the needles still rest, the loop still runs, and pauses grow."""
    with board(tmp_path / "flash", free_port()) as gauge:
        rests(gauge)

        assert gauge.wait(lambda: sum("link:" in line for line in gauge.log) > 2), gauge.log
        assert gauge.faults == []


def test_boards_with_long_names_keep_apart() -> None:
    """A name that some brokers would refuse is shortened, and not to that of another board."""
    names = [client_id("livingroom-shelf-" + end) for end in ("left", "right")]

    assert client_id("shelf") == "gauge-shelf"
    assert len(set(names)) == 2
    assert [len(name) for name in names] == [23, 23]
