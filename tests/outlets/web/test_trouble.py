from __future__ import annotations

import contextlib
import gc
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.http import Wire, get, shown
from tests.support.net import wait_until
from tests.support.payloads import usage

from claude_gauge.outlets.web.shim import Shim
from claude_gauge.system.http import server
from claude_gauge.system.http.connection import HttpConnection, Phase

PAYLOAD = usage().to_json()
GOOD = b"GET /usage HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def full(shim: Shim) -> Shim:
    """The shim with a payload."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    return shim


def test_pipelined(full: Shim) -> None:
    """Many requests in one packet are all answered, in order."""
    with Wire(full.port) as wire:
        wire.send((GOOD + b"HEAD /usage HTTP/1.1\r\nHost: localhost\r\n\r\n" + GOOD.replace(b"usage", b"no")) * 300)
        for _ in range(300):
            assert wire.reply().body == PAYLOAD
            assert wire.reply(head_only=True).status == 200
            assert wire.reply().status == 404


def test_one_byte_at_a_time(full: Shim) -> None:
    """A request that comes in single bytes is answered once it is whole."""
    with Wire(full.port) as wire:
        for byte in GOOD:
            wire.send(bytes([byte]))

        assert wire.reply().body == PAYLOAD


def test_empty_lines_before_a_request(full: Shim) -> None:
    """An empty line too many between requests is overlooked."""
    with Wire(full.port) as wire:
        assert wire.send(b"\r\n\r\n" + GOOD).reply().status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /usage\r\n\r\n", 400),
        (b"GET  /usage HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /usage HTTP/1.1\r\n\r\n", 400),
        (b"GET /usage HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /usage HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /usage HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /usage HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000, 431),
        (b"GET /usage HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"\x00" * 20_000, 400),
    ],
)
def test_garbage(full: Shim, sent: bytes, status: int) -> None:
    """What is no proper request is refused in JSON, the connection ends, and the next client is served."""
    with Wire(full.port) as wire:
        reply = wire.send(sent).reply()

        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert "error" in reply.json()
        assert wire.ended()
    assert get(full.port, "/usage").body == PAYLOAD


def test_body_is_not_taken_for_a_request(full: Shim) -> None:
    """A body is never read as the next request (smuggling): the connection ends after the answer."""
    with Wire(full.port) as wire:
        reply = wire.send(b"POST /usage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41\r\n\r\n" + GOOD).reply()

        assert reply.status == 405
        assert wire.ended()
        assert wire._rest == b""


def test_oversized_body(full: Shim) -> None:
    """A client that sends megabytes still gets to read why they were not wanted."""
    with Wire(full.port) as wire:
        wire.send(b"POST /usage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"a" * 300_000)

        assert wire.reply().status == 405


def test_http_1_0(full: Shim) -> None:
    """An old client is answered and the connection ends."""
    with Wire(full.port) as wire:
        assert wire.send(b"GET /usage HTTP/1.0\r\n\r\n").reply().body == PAYLOAD
        assert wire.ended()


def test_connection_close(full: Shim) -> None:
    """A client that asks for it is hung up on after its answer."""
    with Wire(full.port) as wire:
        assert wire.ask("/usage", "Connection: close").headers["connection"] == "close"
        assert wire.ended()


def test_half_closed(full: Shim) -> None:
    """A client that has no more to say still gets its answer."""
    with Wire(full.port) as wire:
        wire.send(GOOD).socket.shutdown(socket.SHUT_WR)

        assert wire.reply().body == PAYLOAD


def test_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has one deadline for its whole head: a byte now and then does not prolong it."""
    monkeypatch.setattr(Phase.HEAD, "_value_", 0.3)
    slow = Shim("127.0.0.1:0", dict)
    slow.start()
    stop = threading.Event()
    with Wire(slow.port) as wire:
        dripping = threading.Thread(target=_drip, args=(wire, stop))
        dripping.start()

        assert wire.ended()
        stop.set()
        dripping.join()
    slow.stop()


def _drip(wire: Wire, stop: threading.Event) -> None:
    for byte in GOOD[:-2] + b"X: y\r\n" * 1000:
        if stop.wait(0.05):
            return
        wire.send(bytes([byte]))


def test_slow_clients_cannot_shut_out_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every place taken by clients that never finish their request, a good one is served at once."""
    monkeypatch.setattr(server, "CONNECTIONS", 20)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    shim.push(PAYLOAD)
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(Wire(shim.port))
        wait_until(lambda: good.ask("/usage").body == PAYLOAD, "the payload")
        for _ in range(60):
            stack.enter_context(Wire(shim.port)).send(b"GET /usage HT")

        assert get(shim.port, "/usage").body == PAYLOAD
        assert good.ask("/usage").body == PAYLOAD
    shim.stop()


def test_idle_clients_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every place taken by idle keep-alive clients, the one that was idle the longest makes room."""
    monkeypatch.setattr(server, "CONNECTIONS", 5)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(shim.port)) for _ in range(5)]
        for wire in wires:
            wire.ask("/usage")
        last = stack.enter_context(Wire(shim.port))

        assert last.ask("/usage").status == 503
        assert wires[0].ended()
        assert wires[4].ask("/usage").status == 503
    shim.stop()


def test_client_that_does_not_read(full: Shim) -> None:
    """A client that asks on and on and never reads is stopped being read, and others do not notice."""
    with Wire(full.port, timeout_s=1, receive_buffer=4096) as greedy:
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                greedy.send(GOOD * 500)

        assert get(full.port, "/usage").body == PAYLOAD


def test_a_thousand_pollers(full: Shim) -> None:
    """A thousand readers on open connections are all served, again and again."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(full.port)) for _ in range(1000)]
        for _ in range(2):
            for wire in wires:
                wire.send(GOOD)

            assert all(wire.reply().body == PAYLOAD for wire in wires)


def test_nothing_left_behind(full: Shim) -> None:
    """Clients that go, in good order or not, leave no connection behind."""

    def remembered() -> int:
        gc.collect()
        return sum(isinstance(each, HttpConnection) for each in gc.get_objects())

    before = remembered()
    for number in range(50):
        wire = Wire(full.port)
        if number % 2:
            wire.ask("/usage")
        else:
            wire.send(b"GET /usa")
        wire.close()

    wait_until(lambda: remembered() <= before, "every connection to be forgotten")


@pytest.fixture(scope="module")
def lasting() -> Iterator[Shim]:
    """One shim for all of hypothesis's examples."""
    running = Shim("127.0.0.1:0", dict)
    running.start()
    running.push(PAYLOAD)
    shown(running.port, PAYLOAD)
    yield running
    running.stop()


@given(
    pieces=st.lists(
        st.binary(max_size=60) | st.sampled_from([GOOD, GOOD[:-2], b"\r\n", b"Host: localhost\r\n"]), max_size=8
    )
)
@settings(deadline=None, max_examples=60)
def test_any_bytes(lasting: Shim, pieces: list[bytes]) -> None:
    """Whatever bytes arrive, the next client is served as if nothing had been."""
    with Wire(lasting.port) as wire:
        for piece in pieces:
            wire.send(piece)

    assert get(lasting.port, "/usage").body == PAYLOAD
