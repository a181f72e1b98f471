"""Brokers that do not let us in, and what is said about it."""

from __future__ import annotations

import http.server
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
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, free_port, wait_until

from claude_gauge.apps.broker.certificates import Pair, issue, make_ca
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import THREE
from claude_gauge.mqtt.link import Link

PASSWORD = "s3cret-canary"


def reported(link: Link, words: str) -> None:
    """Wait until the link says why the broker is away."""
    wait_until(lambda: words in link.trouble, f"{words!r} in the link's trouble ({link.trouble!r})")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that knows one user."""
    passwords = tmp_path / "passwords"
    passwords.touch()
    passwords.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "me", PASSWORD], check=True, capture_output=True)
    with Mosquitto(tmp_path / "broker", f"password_file {passwords}", anonymous=False) as running:
        yield running


def test_right_password(closed: Mosquitto, connect: Connect) -> None:
    """User in the URL and password in the settings let us in."""
    link = connect(closed.url.replace("//", "//me@"), broker_password=PASSWORD)

    assert link.wait_connected(PATIENCE_S)


def test_wrong_password(closed: Mosquitto, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password is reported once, never shown, and a file that is corrected is read again."""
    caplog.set_level("DEBUG")
    secret = tmp_path / "secret"
    secret.write_text("wrong-canary\n")
    link = connect(closed.url.replace("//", "//me@"), broker_password_file=secret)
    reported(link, "password")
    wait_until(lambda: closed.log.read_text().count("not authorised") > 2, "some more attempts")
    secret.write_text(PASSWORD + "\n")

    assert link.wait_connected(PATIENCE_S)
    assert caplog.text.count("trying again") == 1
    assert "canary" not in caplog.text


def test_no_user(closed: Mosquitto, connect: Connect) -> None:
    """A broker that wants a user is reported as such."""
    reported(connect(closed.url), "user")


def test_password_without_user() -> None:
    """A password without a user stops the start and says how to write it."""
    with pytest.raises(GaugeError, match=r"mqtt://USER@host") as refused:
        Link(Settings(broker="mqtt://localhost", broker_password=PASSWORD), status=None)

    assert PASSWORD not in str(refused.value)


def test_unknown_host(connect: Connect) -> None:
    """A host that does not exist is reported as such."""
    reported(connect("mqtt://no-such-host.invalid"), "no address for the host no-such-host.invalid")


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Run a TCP server that is no broker; yields its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Web(http.server.BaseHTTPRequestHandler):
    """A web server that knows no page."""

    def do_GET(self) -> None:
        """Refuse."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mute(socketserver.BaseRequestHandler):
    """A peer that takes everything and answers nothing."""

    def handle(self) -> None:
        """Read to the end."""
        while self.request.recv(4096):
            pass


class Nonsense(socketserver.BaseRequestHandler):
    """A peer that answers with bytes that are no MQTT."""

    def handle(self) -> None:
        """Answer nonsense."""
        self.request.recv(4096)
        self.request.sendall(b"\x20\xff\xff\xff\xff\xff\x00nonsense" * 20)


@pytest.mark.parametrize(("scheme", "handler", "words"), [
    ("mqtt", Web, "does not answer"),
    ("ws", Web, "not as an MQTT websocket"),
    ("mqtts", Web, "does not speak TLS"),
    ("mqtt", Nonsense, "closed the connection"),
    ("ws", Nonsense, "not as an MQTT websocket"),
])  # fmt: skip
def test_no_broker_at_all(
    connect: Connect,
    scheme: str,
    handler: type[socketserver.BaseRequestHandler],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something else that answers there is reported as such, and the link lives on."""
    monkeypatch.setattr("claude_gauge.mqtt.link.CONNACK_S", 0.5)
    monkeypatch.setattr("claude_gauge.mqtt.link.DOUBT_S", 0.5)
    with serving(handler) as port:
        link = connect(f"{scheme}://127.0.0.1:{port}")
        reported(link, words)

        assert link._thread.is_alive()


def test_tls_at_a_plain_port(connect: Connect, broker: Mosquitto) -> None:
    """A real broker's port without TLS is reported as such: Mosquitto says nothing, it closes."""
    link = connect(broker.url.replace("mqtt://", "mqtts://"))

    reported(link, "write mqtt://")


def test_peer_that_never_answers(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that accepts and stays silent is given up, and said so."""
    monkeypatch.setattr("claude_gauge.mqtt.link.CONNACK_S", 0.5)
    monkeypatch.setattr("claude_gauge.mqtt.link.DOUBT_S", 0.5)
    with serving(Mute) as port:
        reported(connect(f"mqtt://127.0.0.1:{port}"), "does not answer")


@pytest.fixture(scope="module")
def ca() -> Pair:
    """A CA of the tests' own."""
    return make_ca("test CA", datetime.now(UTC))


def write(folder: Path, **pairs: Pair) -> None:
    """Write certificates and keys as name.crt and name.key."""
    folder.mkdir(exist_ok=True)
    for name, pair in pairs.items():
        (folder / f"{name}.crt").write_bytes(pair.certificate)
        (folder / f"{name}.key").write_bytes(pair.key)
        (folder / f"{name}.key").chmod(0o644)  # Mosquitto may run as another user


@pytest.fixture
def tls(tmp_path: Path, ca: Pair) -> Path:
    """A folder with a CA, a broker's certificate for localhost, and a client's."""
    now = datetime.now(UTC)
    write(tmp_path, ca=ca, broker=issue(ca, "broker", now, hosts=["localhost", "127.0.0.1"]))
    write(tmp_path, client=issue(ca, "me", now), stranger=make_ca("another CA", now))
    return tmp_path


class TlsMosquitto(Mosquitto):
    """Mosquitto whose first listener speaks TLS."""

    def __init__(self, folder: Path, tls: Path, *more: str) -> None:
        pair = [f"cafile {tls}/ca.crt", f"certfile {tls}/broker.crt", f"keyfile {tls}/broker.key"]
        super().__init__(folder, *pair, *more)


def test_tls(tls: Path, connect: Connect) -> None:
    """With its CA named, a TLS broker is reached by name and by address."""
    with TlsMosquitto(tls / "broker", tls) as broker:
        for host in ("localhost", "127.0.0.1"):
            link = connect(f"mqtts://{host}:{broker.port}", broker_ca=tls / "ca.crt")
            link.announce(USAGE, b"x" * 5000)

            assert link.flush(PATIENCE_S), link.trouble


def test_tls_reader_gets_a_burst(tls: Path, connect: Connect) -> None:
    """Many messages that TLS decrypts at once are all read at once."""
    with TlsMosquitto(tls / "broker", tls) as broker:
        received: list[bytes] = []
        reader = connect(f"mqtts://localhost:{broker.port}", broker_ca=tls / "ca.crt", status=None)
        reader.listen("burst", lambda message: received.append(message.payload))
        reader.announce("burst", b"begin")
        wait_until(lambda: received, "the subscription to work")
        writer = connect(f"mqtts://localhost:{broker.port}", broker_ca=tls / "ca.crt", status=None)
        assert reader.wait_connected(PATIENCE_S)
        assert writer.wait_connected(PATIENCE_S)
        for number in range(200):
            writer.send("burst", b"%d" % number, qos=1)

        wait_until(lambda: len(received) == 201, "all messages")


def test_tls_many_packets_in_one_record(tls: Path, connect: Connect) -> None:
    """Packets that came in one TLS record are all read: the kernel reports only the first."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls / "broker.crt", tls / "broker.key")
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = connect(f"mqtts://localhost:{server.getsockname()[1]}", broker_ca=tls / "ca.crt", status=None)
        reader.listen("t", lambda message: received.append(message.payload))
        with context.wrap_socket(server.accept()[0], server_side=True) as peer:
            peer.recv(4096)
            peer.sendall(b"\x20\3\0\0\0")
            subscribe = peer.recv(4096)
            suback = b"\x90\4" + subscribe[2:4] + b"\0\0"
            peer.sendall(suback + b"".join(b"\x30\5\0\1t\0" + b"%d" % number for number in range(5)))

            wait_until(lambda: received == [b"0", b"1", b"2", b"3", b"4"], "all five")


def test_tls_unknown_ca(tls: Path, connect: Connect) -> None:
    """A certificate signed by nobody we know is refused, with what to do."""
    with TlsMosquitto(tls / "broker", tls) as broker:
        reported(connect(f"mqtts://localhost:{broker.port}", broker_ca=tls / "stranger.crt"), "broker_ca")
        reported(connect(f"mqtts://localhost:{broker.port}"), "certificate that is not accepted")


def test_tls_renewed_ca(tls: Path, connect: Connect) -> None:
    """A CA file that is renewed while we wait is read again."""
    with TlsMosquitto(tls / "broker", tls) as broker:
        own = tls / "own.crt"
        own.write_bytes((tls / "stranger.crt").read_bytes())
        link = connect(f"mqtts://localhost:{broker.port}", broker_ca=own)
        reported(link, "broker_ca")
        own.write_text("half a file")
        reported(link, "no readable CA")
        own.write_bytes((tls / "ca.crt").read_bytes())

        assert link.wait_connected(PATIENCE_S)


def test_tls_other_name(tls: Path, ca: Pair, connect: Connect) -> None:
    """A certificate of another host is refused, and the names that it has are reported."""
    write(tls, broker=issue(ca, "broker", datetime.now(UTC), hosts=["elsewhere.example"]))
    with TlsMosquitto(tls / "broker", tls) as broker:
        reported(
            connect(f"mqtts://localhost:{broker.port}", broker_ca=tls / "ca.crt"),
            "not for localhost, only for elsewhere.example",
        )


def test_tls_expired(tls: Path, ca: Pair, connect: Connect) -> None:
    """A certificate that has ended is refused."""
    write(tls, broker=issue(ca, "broker", datetime(2020, 1, 1, tzinfo=UTC), hosts=["localhost"]))
    with TlsMosquitto(tls / "broker", tls) as broker:
        reported(connect(f"mqtts://localhost:{broker.port}", broker_ca=tls / "ca.crt"), "expired")


def test_client_certificate(tls: Path, connect: Connect) -> None:
    """A broker that asks for a client certificate lets in who has one, and who has none learns that."""
    with TlsMosquitto(tls / "broker", tls, "require_certificate true") as broker:
        url = f"mqtts://localhost:{broker.port}"
        known = connect(url, broker_ca=tls / "ca.crt", broker_cert=tls / "client.crt", broker_key=tls / "client.key")

        assert known.wait_connected(PATIENCE_S), known.trouble
        reported(connect(url, broker_ca=tls / "ca.crt"), "wants a client certificate")
        stranger = {"broker_cert": tls / "stranger.crt", "broker_key": tls / "stranger.key"}
        reported(connect(url, broker_ca=tls / "ca.crt", **stranger), "does not accept our client certificate")


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
def test_plain_client_of_a_tls_broker(tls: Path, connect: Connect, scheme: str) -> None:
    """mqtt:// to a TLS listener does not connect, and learns that TLS is spoken there."""
    with TlsMosquitto(tls / "broker", tls) as broker:
        reported(connect(f"{scheme}://localhost:{broker.port}"), "speaks TLS there: write mqtts://")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websockets(tls: Path, connect: Connect, scheme: str) -> None:
    """Websockets work, plain and with TLS, in both directions, and listen where they were reported to."""
    port = free_port()
    pair = [f"cafile {tls}/ca.crt", f"certfile {tls}/broker.crt", f"keyfile {tls}/broker.key"]
    listener = [f"listener {port} 127.0.0.1", "protocol websockets", "socket_domain ipv4"]
    with Mosquitto(tls / "broker", *listener, *(pair if scheme == "wss" else ())):
        link = connect(f"{scheme}://localhost:{port}/mqtt", broker_ca=tls / "ca.crt")
        received: list[bytes] = []
        link.listen(USAGE, lambda message: received.append(message.payload))
        link.announce(USAGE, b"x" * 70000)

        assert link.flush(PATIENCE_S), link.trouble
        wait_until(lambda: received == [b"x" * 70000], "our own message")


@pytest.mark.parametrize("name", ["ca.crt", "client.crt", "client.key"])
def test_unusable_certificate_files(tls: Path, name: str) -> None:
    """A certificate file that is missing or broken stops the start and is named."""
    settings = Settings(
        broker="mqtts://localhost",
        broker_ca=tls / "ca.crt",
        broker_cert=tls / "client.crt",
        broker_key=tls / "client.key",
    )
    (tls / name).write_text("broken")

    with pytest.raises(GaugeError, match="broker_ca" if name == "ca.crt" else "broker_cert"):
        Link(settings, status=None)


def test_small_packets(tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A value above the broker's limit is left out and reported; status and smaller values still go out."""
    with Mosquitto(tmp_path / "broker", "max_packet_size 200") as broker:
        link = connect(broker.url)
        link.announce(USAGE, b"x" * 500)
        link.announce(USAGE + "/small", b"1")
        assert link.flush(PATIENCE_S)
        with Listener(broker.port, "claude-gauge/#") as reader:
            reader.wait(lambda received: received.topic.endswith("small"))
            link.announce(USAGE, b"x" * 50)
            reader.wait(lambda received: received.payload == b"x" * 50)
    assert caplog.text.count("200 bytes at most") == 1


def test_broker_that_closes_at_large_packets(
    tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """A 3.1.1 broker that closes at a large value does not take status and smaller values with it for ever."""
    with Mosquitto(tmp_path / "broker", "max_packet_size 200") as broker:
        link = connect(broker.url, version=THREE)
        link.announce(USAGE, b"x" * 500)
        link.announce(USAGE + "/small", b"1")
        reported(link, "closes the connection at")

        assert link.flush(PATIENCE_S), link.trouble
        with Listener(broker.port, "claude-gauge/#") as reader:
            reader.wait(lambda received: received.topic.endswith("small"))
            reader.wait(lambda received: received.topic == STATUS and received.payload == b"online")
            link.announce(USAGE, b"x" * 50)
            reader.wait(lambda received: received.payload == b"x" * 50)
        wait_until(lambda: link.trouble == "", "the trouble to be over")
    assert caplog.text.count("closes the connection at") == 1


def test_secret_in_a_path(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """What stands behind the question mark of a websocket's URL is not reported."""
    with serving(Web) as port:
        link = connect(f"ws://127.0.0.1:{port}/mqtt?token=canary")
        reported(link, "not as an MQTT websocket at /mqtt")

        assert "canary" not in link.trouble + caplog.text


def test_forbidden_topic(tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A topic that the broker does not let us write is reported once; the others go out."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {STATUS}\ntopic read #\n")
    with Mosquitto(tmp_path / "broker", f"acl_file {acl}") as broker:
        link = connect(broker.url)
        for number in range(3):
            link.announce(USAGE, b"%d" % number)
            assert link.flush(PATIENCE_S)
        with Listener(broker.port, "#") as reader:
            reader.wait(lambda received: received.topic == STATUS)
        assert "ACL" in link.trouble
    assert caplog.text.count(f"does not take {USAGE}") == 1


def test_peer_that_resets(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that resets every connection is one warning, not one per attempt."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        for _ in range(6):
            accepted, _address = server.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            accepted.close()
        reported(link, "closed the connection")
        link.stop()

    assert caplog.text.count("trying again") == 1
