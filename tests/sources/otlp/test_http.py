from __future__ import annotations

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.otlp.exports import event, metrics, point
from tests.support.net import PATIENCE_S, answers, wait_until

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.sources.otlp import export
from claude_gauge.sources.otlp.export import Export
from claude_gauge.sources.otlp.feed import Otlp
from claude_gauge.system.http import connection, server
from claude_gauge.system.http.server import Listener, Server
from claude_gauge.system.net import host_of

BODY = json.dumps(event(100, "r1")).encode()
JSON = "Content-Type: application/json"


class Taken(list[Export]):
    """The exports that were taken at an address of ours."""

    listener: Listener

    def __init__(self, address: str = "127.0.0.1:0", token: str | None = None) -> None:
        super().__init__()
        self.taking: Callable[[Export], object] = lambda _: None
        site = export.site(self.take, host_of(address), token, lambda: 1000.0)
        self.listener = Server().listen(address, site, name="OTLP", flag="--otlp")

    def take(self, one: Export) -> bool:
        """Take one, and say that it is stored."""
        self.taking(one)
        self.append(one)
        return True


@contextmanager
def _receiving(address: str = "127.0.0.1:0", token: str | None = None) -> Iterator[Taken]:
    exports = Taken(address, token)
    yield exports
    exports.listener.close()


@pytest.fixture
def taken() -> Iterator[Taken]:
    """A receiver on a port of its own, and what it takes."""
    with _receiving() as exports:
        yield exports


@pytest.fixture(scope="module")
def shared() -> Iterator[Taken]:
    """One receiver for very many examples."""
    with _receiving() as exports:
        yield exports


def _speak(taken: Taken, data: bytes, *, shut: bool = False) -> bytes:
    """Send bytes as they are; return all that comes until the connection is closed or goes quiet."""
    with closing(socket.create_connection(("127.0.0.1", taken.listener.port), 10)) as peer:
        peer.sendall(data)
        if shut:
            peer.shutdown(socket.SHUT_WR)
        received = b""
        while b"\r\n\r\n" not in received or shut:
            more = peer.recv(65536)
            if not more:
                break
            received += more
        return received


def _request(
    *headers: str, method: str = "POST", path: str = "/v1/logs", host: str = "127.0.0.1", body: bytes = BODY
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if not any("transfer-encoding" in each.lower() for each in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_taken(taken: Taken) -> None:
    """A plain export is answered with an empty object, and handed on."""
    answer = _speak(taken, _request(JSON, "Connection: close"), shut=True)

    assert _status(answer) == 200
    assert answer.endswith(b"\r\n\r\n{}")
    assert [len(export.decoded.requests) for export in taken] == [1]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (_request(JSON, path="/v1/traces"), 404),
        (_request(JSON, path="/"), 404),
        (_request(method="GET", path="/"), 404),
        (_request(method="GET"), 405),
        (_request(method="OPTIONS"), 405),
        (_request(method="BREW"), 405),
        (_request(), 415),
        (_request("Content-Type: text/plain"), 415),
        (_request(JSON, "Content-Encoding: br"), 415),
        (_request(JSON, body=b"{"), 400),
        (_request(JSON, "Content-Encoding: gzip"), 400),
        (_request(JSON, "Content-Encoding: gzip", body=gzip.compress(BODY, mtime=0)[:-9]), 400),
        (_request(JSON, host="gauge.example.com"), 403),
        (_request(JSON, host="127.0.0.1.example.com"), 403),
        (_request(JSON, host=""), 403),
        (_request(JSON, "Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
        (_request(JSON, "Transfer-Encoding: chunked", body=b"400001\r\n" + bytes(0x400001)), 413),
        (b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n" + JSON.encode() + b"\r\n\r\n", 411),
        (b"POST /v1/logs HTTP/1.1\r\nHost: [::1\r\n" + JSON.encode() + b"\r\n\r\n", 403),
        (b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n" + JSON.encode() + b"\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n" + JSON.encode() + b"\r\nContent-Length: 1" + b"0" * 30, 400),
        (b"garbage\r\n\r\n", 400),
    ],
)
def test_refused(taken: Taken, request_: bytes, status: int) -> None:
    """What is no export of ours gets the answer that says so, and nothing is taken."""
    end = b"" if request_.endswith((b"\r\n\r\n", BODY)) or b"\r\n\r\n" in request_ else b"\r\n\r\n"

    assert _status(_speak(taken, request_ + end)) == status
    assert list(taken) == []


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:4318", "127.0.0.1:1", "[::1]:4318", "host.docker.internal:4318"]
)
def test_local_names(taken: Taken, host: str) -> None:
    """Every name of this machine's loopback is good, also the one that containers use."""
    assert _status(_speak(taken, _request(JSON, host=host))) == 200


def test_compressed(taken: Taken) -> None:
    """A gzip body is unpacked."""
    _speak(taken, _request(JSON, "Content-Encoding: gzip", body=gzip.compress(BODY, mtime=0)))

    assert len(taken[0].decoded.requests) == 1


def test_compressed_in_pieces(taken: Taken) -> None:
    """A gzip body of several members is unpacked whole; garbage behind one, or members without end, are refused."""
    whole = gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]) + bytes(3)
    for body, status in ((whole, 200), (whole + b"x", 400), (gzip.compress(b"") * 9999, 400), (whole[:-9], 400)):
        assert _status(_speak(taken, _request(JSON, "Content-Encoding: gzip", body=body))) == status

    assert [len(each.decoded.requests) for each in taken] == [1]


def test_chunked(taken: Taken) -> None:
    """A body in chunks, with extensions and trailers, is put together."""
    chunks = b"5;x=y\r\n" + BODY[:5] + b"\r\n%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\nTrailer: 1\r\n\r\n"
    answer = _speak(taken, _request(JSON, "Transfer-Encoding: chunked", "Connection: close", body=chunks), shut=True)

    assert _status(answer) == 200
    assert len(taken[0].decoded.requests) == 1


def test_bomb(taken: Taken) -> None:
    """A small body that inflates without end is stopped at the limit."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(65)) + packer.flush()
    answer = _speak(taken, _request(JSON, "Content-Encoding: gzip", body=bomb))

    assert len(bomb) < 100_000
    assert _status(answer) == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"resourceLogs":[' + b"{}," * 200_000 + b"{}]}", "application/json"),
        (b"[" * 200_000, "application/json"),
        (b"\x0a\x00" * 200_000, "application/x-protobuf"),
        (b"\x0a\x80\x80\x18" + b"\x12\x00" * 196_608, "application/x-protobuf"),
    ],
)
def test_many_tiny_elements(taken: Taken, body: bytes, content_type: str) -> None:
    """A body of very many tiny elements, a few kB when packed, is refused before anything is built of it."""
    request = _request(f"Content-Type: {content_type}", "Content-Encoding: gzip", body=gzip.compress(body, mtime=0))
    answer = _speak(taken, request)

    assert _status(answer) == 413
    assert b"elements" in answer
    assert _status(_speak(taken, _request(JSON))) == 200


@pytest.mark.parametrize("packed", [False, True])
def test_large_export_keeps_nobody_waiting(taken: Taken, *, packed: bool) -> None:
    """While a large export is counted, however small it was on the wire, a small one is answered."""
    begun, may = threading.Event(), threading.Event()

    def wait(one: Export) -> None:
        if len(one.decoded.requests) > 1:
            begun.set()
            may.wait(PATIENCE_S)

    taken.taking = wait
    records = event(100, "r")["resourceLogs"] * (2 * export.SHORT // len(BODY))
    body = json.dumps({"resourceLogs": records}).encode()
    large = _request(JSON, "Content-Encoding: gzip", body=gzip.compress(body)) if packed else _request(JSON, body=body)
    with closing(socket.create_connection(("127.0.0.1", taken.listener.port), 10)) as first:
        first.sendall(large)
        assert begun.wait(PATIENCE_S)
        assert _status(_speak(taken, _request(JSON))) == 200
        may.set()
        assert _status(first.recv(65536)) == 200

    assert [len(each.decoded.requests) for each in taken] == [1, len(records)]


def test_body_too_large(taken: Taken) -> None:
    """A body beyond the limit is refused by its length alone."""
    head = _request(JSON, body=b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (export.MAX_BODY + 1))

    assert _status(_speak(taken, head)) == 413


def test_partial_success(taken: Taken) -> None:
    """Records that can't be counted are reported to the exporter; the others count."""
    body = json.dumps(metrics(point("input", -1, 100), point("output", 5, 100))).encode()
    answer = _speak(taken, _request(JSON, "Connection: close", path="/v1/metrics", body=body), shut=True)
    partial = json.loads(answer.partition(b"\r\n\r\n")[2])["partialSuccess"]

    assert partial["rejectedDataPoints"] == "1"
    assert partial["errorMessage"].startswith("claude_code.token.usage")
    assert len(taken[0].decoded.points) == 1


@settings(max_examples=150)
@given(garbled=st.data())
def test_any_bytes(shared: Taken, garbled: st.DataObject) -> None:
    """Whatever bytes come, the receiver answers or cuts, says no fault of its own, and serves on."""
    chunked = _request(JSON, "Transfer-Encoding: chunked", body=b"5\r\nabcde")
    good = garbled.draw(st.sampled_from([_request(JSON), chunked]))
    at = garbled.draw(st.integers(0, len(good)))
    junk = garbled.draw(st.binary(max_size=40))
    faults = Faults()
    logging.getLogger(server.log.name.rpartition(".")[0]).addHandler(faults)
    _speak(shared, good[:at] + junk + good[at + len(junk) + 1 :], shut=True)
    after = _status(_speak(shared, _request(JSON)))
    logging.getLogger(server.log.name.rpartition(".")[0]).removeHandler(faults)

    assert after == 200
    assert faults.said == []


class Faults(logging.Handler):
    """Keeps what is said as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said.append(record.getMessage())


def test_kept_alive(taken: Taken) -> None:
    """Exporters use one connection for export after export."""
    with closing(socket.create_connection(("127.0.0.1", taken.listener.port), 10)) as peer:
        for _ in range(3):
            peer.sendall(_request(JSON))
            assert peer.recv(65536).startswith(b"HTTP/1.1 200")

    assert len(taken) == 3


def test_grpc(taken: Taken, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter set to gRPC is named in the log, with what to set."""
    _speak(taken, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", shut=True)

    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in caplog.text


def test_sender_goes_away(taken: Taken) -> None:
    """A sender that dies in mid-body leaves nothing half taken, and the next is served."""
    _speak(taken, _request(JSON)[:-10], shut=True)

    assert _status(_speak(taken, _request(JSON))) == 200
    assert len(taken) == 1


def test_dripping_senders(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders that drip their bytes are cut at the deadline, however lively they look."""
    monkeypatch.setattr(connection.Phase.HEAD, "_value_", 1.0)
    with closing(socket.create_connection(("127.0.0.1", taken.listener.port), 10)) as peer:
        peer.sendall(b"POST /v1/logs HTTP/1.1\r\n")

        def drip() -> bool:
            try:
                peer.sendall(b"x")
                peer.settimeout(0.1)
                return peer.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(drip, "the dripping connection to be cut")

    assert _status(_speak(taken, _request(JSON))) == 200


def test_too_many_connections(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the idlest connection makes room: a new exporter is always served."""
    monkeypatch.setattr(server, "CONNECTIONS", 5)
    taken = Taken()
    idle = [socket.create_connection(("127.0.0.1", taken.listener.port), 10) for _ in range(20)]

    assert _status(_speak(taken, _request(JSON))) == 200

    cut = wait_until(lambda: _cut(idle) >= 15 and _cut(idle), "the idlest to be cut")

    assert 15 <= cut <= 16
    for each in idle:
        each.close()


def _cut(peers: list[socket.socket]) -> int:
    count = 0
    for peer in peers:
        peer.settimeout(0)
        try:
            count += peer.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            continue
    return count


def test_port_in_use() -> None:
    """A port that a collector holds is said in one line with what to do."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(GaugeError, match=rf"cannot listen on 127.0.0.1:{port}: .*in use.* --otlp"):
            Taken(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["999.1.1.1:4318", "no.such.invalid:4318", "127.0.0.1:99999", "192.0.2.1:4318"])
def test_impossible_address(address: str) -> None:
    """An address that this machine does not have is an error in words."""
    with pytest.raises(GaugeError, match="cannot listen on"):
        Taken(address)


def test_stop_and_start_again(taken: Taken) -> None:
    """A stopped receiver lets its port and its connections go; stopping twice is fine."""
    port = taken.listener.port
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as peer:
        peer.sendall(_request(JSON))
        assert peer.recv(65536)
        taken.listener.close()
        taken.listener.close()

        assert peer.recv(1) == b""

    assert not answers(port)
    with _receiving(f"127.0.0.1:{port}"):
        assert answers(port)


def test_open_to_the_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Listening beyond loopback without a token is warned of; any name is good there."""
    for token in ("", "s3cret"):
        caplog.clear()
        (tmp_path / "token").write_text(token)
        own = Settings(otlp="0.0.0.0:0", state_dir=tmp_path, otlp_token_file=tmp_path / "token" if token else None)
        source = Otlp(own)
        source.start(lambda: None)
        source.stop()

        assert ("open to the network" in caplog.text) == (not token)

    with _receiving("0.0.0.0:0") as exports:
        assert _status(_speak(exports, _request(JSON, host="gauge.example.com"))) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Authorization: Bearer s3cret"], 200),
        ([], 401),
        (["Authorization: Bearer other"], 401),
        (["Authorization: s3cret"], 401),
        (["Authorization: Bearer s3cret\u00e9"], 401),
    ],
)
def test_token(headers: list[str], status: int, caplog: pytest.LogCaptureFixture) -> None:
    """With a token set only who sends it is received."""
    with _receiving("0.0.0.0:0", "s3cret") as exports:
        answer = _speak(exports, _request(JSON, *headers))

    assert _status(answer) == status
    assert len(exports) == (status == 200)
    assert "s3cret" not in caplog.text


def test_ipv6() -> None:
    """An IPv6 address is listened on as written."""
    with _receiving("[::1]:0") as exports:
        assert answers_v6(exports.listener.port)


def answers_v6(port: int) -> bool:
    """Return whether something accepts connections on IPv6's loopback."""
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex(("::1", port)) == 0


def test_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in taking an export is said, is not answered as taken, and the next one is served."""

    class Broken(Taken):
        def take(self, one: Export) -> bool:
            super().take(one)
            if len(self) == 1:
                raise RuntimeError("broken")
            return True

    exports = Broken()
    first, second = (_status(_speak(exports, _request(JSON))) for _ in range(2))
    exports.listener.close()

    assert (first, second) == (500, 200)
    assert "broken" in caplog.text


def test_not_stored() -> None:
    """What could not be stored is answered 503, so that it is sent again."""

    class Full(Taken):
        def take(self, one: Export) -> bool:
            super().take(one)
            return False

    exports = Full()
    answer = _speak(exports, _request(JSON))
    exports.listener.close()

    assert _status(answer) == 503
    assert b"Retry-After" in answer


def test_protobuf_is_imported_late() -> None:
    """Start-up does not pay for the protobuf definitions."""
    code = (
        "import sys, claude_gauge.sources.otlp.feed; sys.exit(any(name.startswith('google') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
