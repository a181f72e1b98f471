"""More HTTP clients than anyone has, most of them bad."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.outlets.web.shim import Shim

MANY = 1000


@pytest.fixture(autouse=True)
def _descriptors() -> None:
    """Let this process hold as many sockets as the tests need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * MANY + 500:
        assert hard >= 2 * MANY + 500 or hard == resource.RLIM_INFINITY, "raise the limit of open files (ulimit -n)"
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * MANY + 500, hard))


@pytest.fixture
def port(claude: ClaudeHome, env: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """Run a publisher with HTTP on a free port, and a payload to give."""
    claude.append(assistant(time.time(), 1))
    number = free_port()
    with Publishing(tmp_path / "run", "--http", f"127.0.0.1:{number}", env=env) as publishing:
        wait_until(lambda: _tokens(number), "a payload over HTTP")
        yield number

        assert publishing.end() == 0
    assert "Traceback" not in publishing.log


def _tokens(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", "/usage")
        answer = connection.getresponse()
        return int(json.loads(answer.read())["window_5h_tokens"]) if answer.status == 200 else 0
    return 0


def test_half_open_clients_starve_nobody(port: int) -> None:
    """1,000 clients that begin a request and never end it keep no good client from its answer."""
    with contextlib.ExitStack() as stack:
        for n in range(MANY):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            with contextlib.suppress(OSError):  # the server may have shown it the door already
                sock.send(b"GET /usage HTTP/1.1\r\nHost: localhost\r\nX-Slow: "[: n % 48])

        wait_until(lambda: _tokens(port) == SAMPLE, "a good client's answer")


def test_thousand_pollers_get_the_same_bytes(port: int) -> None:
    """1,000 clients at once, each with three requests on one connection, all get the payload."""
    request = b"GET /usage HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(MANY):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            selector.register(sock, selectors.EVENT_READ, bytearray())
        for _ in range(3):
            for key in selector.get_map().values():
                key.fileobj.send(request)  # type: ignore[union-attr]
            waiting = {key.fd for key in selector.get_map().values()}
            end = time.monotonic() + 60
            while waiting:
                assert time.monotonic() < end, f"{len(waiting)} clients wait in vain"
                for key, _events in selector.select(1):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    assert data, "a poller was cut off"
                    key.data.extend(data)
                    if re.search(rb'"schema_version":1}$', key.data):
                        waiting.discard(key.fd)
        answers = [bytes(key.data) for key in selector.get_map().values()]

    assert all(answer.count(b"HTTP/1.1 200 ") == 3 for answer in answers)
    assert all(answer.count(b'"window_5h_tokens":%d' % SAMPLE) == 3 for answer in answers)


@pytest.fixture(scope="module")
def shim() -> Iterator[Shim]:
    """Serve a payload without a publisher behind it."""
    running = Shim("127.0.0.1:0", lambda: {"broker": "connected"})
    running.start()
    running.push(b'{"rate_1m":1}')
    yield running
    running.stop()


_token = st.text(st.characters(codec="ascii"), max_size=20)
_requests = st.builds(
    lambda verb, path, version, headers, body: (
        f"{verb} {path} {version}\r\n".encode("latin-1", "replace")
        + b"".join(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers)
        + b"\r\n"
        + body
    ),
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PRI", ""]) | _token,
    st.sampled_from(["/usage", "/healthz", "/", "*", "/../usage", "http://x/usage", "/usage?" + "a" * 9000]) | _token,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""]) | _token,
    st.lists(
        st.tuples(
            st.sampled_from(["Host", "If-None-Match", "Content-Length", "Transfer-Encoding", "Expect"]) | _token,
            st.sampled_from(["localhost", "evil.example", "*", "-1", "99999999999", "chunked", "100-continue"])
            | _token,
        ),
        max_size=6,
    ),
    st.binary(max_size=50),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(request=_requests | st.binary(max_size=200))
def test_any_request_gets_an_answer_or_a_closed_door(request: bytes, shim: Shim) -> None:
    """Whatever is sent, the answer is HTTP of a known status or none, and the next client is served."""
    with socket.create_connection(("127.0.0.1", shim.port), timeout=PATIENCE_S) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        reported = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(65536):
                reported += data
    statuses = {int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", bytes(reported))}

    assert statuses <= {200, 304, 400, 404, 405, 408, 411, 413, 414, 417, 421, 426, 431, 501, 503, 505}
    with contextlib.closing(HTTPConnection("127.0.0.1", shim.port, timeout=PATIENCE_S)) as good:
        good.request("GET", "/usage")
        assert good.getresponse().read() == b'{"rate_1m":1}'
