"""What all addresses of the one server share: bounds, deadlines, and who has to go when there are too many."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from tests.support.http import Wire
from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.system.http import server
from claude_gauge.system.http.connection import Phase
from claude_gauge.system.http.messages import Answer, HttpRequest, Route, Site, answer, as_json
from claude_gauge.system.http.server import Listener, Server

GET = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Slow:
    """A route that is answered on a worker thread, once it may."""

    def __init__(self) -> None:
        self.may, self._counting = threading.Event(), threading.Lock()
        self.at_once = self.most_at_once = 0

    def __call__(self, request: HttpRequest) -> Answer:
        """Count who is here; what calls itself at once waits for nothing."""
        self._enter(1)
        if request.body != b"at once":
            self.may.wait(PATIENCE_S)
        self._enter(-1)
        return answer(HTTPStatus.OK, request.body, "text/plain")

    def _enter(self, count: int) -> None:
        with self._counting:
            self.at_once += count
            self.most_at_once = max(self.most_at_once, self.at_once)


@contextlib.contextmanager
def _two(slow: Slow) -> Iterator[tuple[Listener, Listener]]:
    """Serve two addresses by one server: a page's, and one that takes bodies."""
    both = Server()
    hosts = lambda _: True  # noqa: E731
    page = Site({"/quick": Route(lambda _: as_json({"quick": True}))}, hosts)
    route = Route(slow, methods=("POST",), body_limit=1000, apart=True, long=lambda request: b"long" in request.body)
    bodies = Site({"/slow": route}, hosts)
    first = both.listen("127.0.0.1:0", page, name="http", flag="--http")
    second = both.listen("127.0.0.1:0", bodies, name="OTLP", flag="--otlp")
    try:
        yield first, second
    finally:
        slow.may.set()
        first.close()
        second.close()


def _post(body: bytes, announced: int | None = None) -> bytes:
    length = len(body) if announced is None else announced
    return b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length + body


def test_one_body_at_a_time() -> None:
    """Bodies are worked off one by one, and nobody else waits for them."""
    slow = Slow()
    with _two(slow) as (page, bodies), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(bodies.port)).send(_post(b"x%d" % number)) for number in range(5)]
        wait_until(lambda: slow.at_once, "the first one")
        with Wire(page.port) as other:
            assert other.send(GET).reply().json() == {"quick": True}
        slow.may.set()

        assert [wire.reply().body for wire in wires] == [b"x%d" % number for number in range(5)]
        assert slow.most_at_once == 1


def test_long_ones_keep_nobody_else_waiting() -> None:
    """Requests that take long are worked off two at a time, and the short ones meanwhile."""
    slow = Slow()
    with _two(slow) as (_, bodies), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(bodies.port)).send(_post(b"long %d" % number)) for number in range(4)]
        wait_until(lambda: slow.at_once == 2, "the second one")
        with Wire(bodies.port) as short:
            assert short.send(_post(b"at once")).reply().body == b"at once"
        slow.may.set()

        assert [wire.reply().body for wire in wires] == [b"long %d" % number for number in range(4)]
        assert slow.most_at_once == 3


def test_held_requests_shut_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are begun and held, heads or bodies, make room for the next one, on any address."""
    monkeypatch.setattr(server, "CONNECTIONS", 20)
    slow = Slow()
    slow.may.set()
    with _two(slow) as (page, bodies), contextlib.ExitStack() as stack:
        for held in (_post(b"x", announced=900), b"POST /slow HTTP/1.1\r\nHost"):
            for _ in range(40):
                stack.enter_context(Wire(bodies.port)).send(held)
            with Wire(bodies.port) as exporter, Wire(page.port) as poller:
                assert exporter.send(_post(b"good")).reply().body == b"good"
                assert poller.send(GET).reply().status == 200


def test_unread_streams_shut_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every stream taken by clients that never read, a new one and plain requests are served."""
    from claude_gauge.outlets.web.shim import Shim  # noqa: PLC0415 - the one site that has streams

    monkeypatch.setattr(server, "STREAMS", 10)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(Wire(shim.port)).send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with Wire(shim.port) as page:
            page.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

            assert b"text/event-stream" in page.until(b"retry: 1000\n\n")
    shim.stop()


def test_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All bodies together hold so many bytes at most: the oldest unfinished one has to go."""
    monkeypatch.setattr(server, "BODIES", 2000)
    slow = Slow()
    slow.may.set()
    with _two(slow) as (_, bodies), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(bodies.port)).send(_post(b"x" * 800, announced=900)) for _ in range(3)]

        assert wires[0].ended()
        assert wires[2].send(b"x" * 100).reply().body == b"x" * 900


def test_body_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body has one deadline, however its bytes drip."""
    monkeypatch.setattr(Phase.BODY, "_value_", 0.3)
    with _two(Slow()) as (_, bodies), Wire(bodies.port) as wire:
        wire.send(_post(b"x", announced=900))

        assert wire.ended()


def test_expect_continue() -> None:
    """A client that asks first is reported to go on, unless its body is unwanted."""
    slow = Slow()
    slow.may.set()
    with _two(slow) as (_, bodies):
        with Wire(bodies.port) as wire:
            wire.send(b"POST /slow HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
            assert wire.send(b"ok").reply().body == b"ok"
        with Wire(bodies.port) as wire:
            wire.send(b"POST /slow HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
            assert wire.reply().status == 413


def test_second_address_outlives_the_first() -> None:
    """Ending one address leaves the other; with the last one the thread ends."""
    slow, before = Slow(), set(threading.enumerate())
    slow.may.set()
    with _two(slow) as (page, bodies):
        page.close()
        with Wire(bodies.port) as wire:
            assert wire.send(_post(b"still")).reply().body == b"still"

    assert "http" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_errors_are_json() -> None:
    """A refusal says why, in JSON."""
    with _two(Slow()) as (page, _), Wire(page.port) as wire:
        reply = wire.send(GET.replace(b"quick", b"nothing")).reply()

        assert (reply.status, "/quick" in json.loads(reply.body)["error"]) == (404, True)
