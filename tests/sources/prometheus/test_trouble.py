"""The source between a real Prometheus and all that can go wrong on the way."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.sources.prometheus.past import counted, labels
from tests.support.faulty import Faulty, Reply, Spoil
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.prometheus import Series, Server

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Health
from claude_gauge.sources.prometheus.client import MOST_BYTES
from claude_gauge.sources.prometheus.source import Prometheus

pytestmark = pytest.mark.xdist_group("prometheus-trouble")  # what they share is slow to begin


def replace_values(value: str) -> Spoil:
    """Spoil every value of an answer."""

    def spoil(body: bytes) -> Reply:
        answer = json.loads(body)
        for series in answer["data"]["result"]:
            series["value"] = [0, value]
        answer["data"]["result"] = answer["data"]["result"] or [{"metric": {}, "value": [0, value]}]
        return Reply(body=json.dumps(answer).encode())

    return spoil


def add(**more: object) -> Spoil:
    """Add members to every answer, and take its samples away, as an engine does that lost a part of itself."""

    def spoil(body: bytes) -> Reply:
        answer = {**json.loads(body), **more}
        answer["data"]["result"] = []
        return Reply(body=json.dumps(answer).encode())

    return spoil


def say(status: int, body: bytes = b"", kind: str = "text/plain", hold_s: float = 0) -> Spoil:
    """Answer this instead."""
    return lambda _: Reply(status, body, kind, hold_s)


TROUBLES: dict[str, tuple[Spoil, str]] = {
    "slow": (say(200, b"", hold_s=60), "no answer in 1 s"),
    "broken off": (lambda _: None, "broke off: RemoteProtocolError"[:28]),
    "bad request": (say(400, b'{"status":"error","errorType":"bad_data","error":"x"}'), "400: bad_data"),
    "wrong password": (say(401, b"<html>"), "401: credentials refused"),
    "forbidden": (say(403), "403: not allowed"),
    "wrong path": (say(404, b"404 page not found"), "404: is the URL right?"),
    "refused": (say(422, b'{"status":"error","errorType":"execution","error":"x"}'), "422: execution"),
    "too many": (say(429), "429: too many requests"),
    "internal": (say(500, b"oops"), "HTTP 500"),
    "unavailable": (say(503, b'{"status":"error","errorType":"unavailable"}'), "503: unavailable"),
    "redirected": (say(302), "HTTP 302"),
    "HTML": (say(200, b"<!doctype html><title>Sign in", "text/html"), "HTML, not JSON"),
    "nothing": (say(200, b""), "answer is not JSON"),
    "half": (lambda body: Reply(body=body[:-9]), "answer is not JSON"),
    "invalid UTF-8": (say(200, b'{"status":"\xff"}'), "answer is not JSON"),
    "deep": (say(200, b"[" * 200_000), "answer is not JSON"),
    "a list": (say(200, b"[]"), "answer has no such shape"),
    "another shape": (say(200, b'{"status":"success","data":{"result":[{"value":7}]}}'), "answer has no such shape"),
    "a number for data": (say(200, b'{"status":"success","data":7}'), "answer has no such shape"),
    "an error that says success": (say(200, b'{"status":"error","errorType":"timeout"}'), "error: timeout"),
    "NaN": (replace_values("NaN"), "NaN in the answer"),
    "infinite": (replace_values("+Inf"), "NaN in the answer"),
    "no number": (replace_values("many"), "answer has no such shape"),
    "warnings": (add(warnings=["receive series from store: rpc error"]), "answer is partial"),
    "partial": (add(isPartial=True), "answer is partial"),
    "huge": (say(200, b" " * (MOST_BYTES + 1)), "answer is too big"),
}


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Prometheus, Callable[[], Health]]]:
    """A source that asks ten times a second, and what it says of itself."""
    source = Prometheus(settings, timeout_s=1)
    source.start(lambda: None)
    try:
        yield source, lambda: source.read(time.time()).sources["tach"]
    finally:
        source.stop()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus with a session that began two minutes ago."""
    now = time.time()
    past = [Series(labels("a", kind), counted([(now - 120, 1000)], now + 900)) for kind in ("input", "output")]
    with Server(tmp_path_factory.mktemp("busy")).fill(past) as server:
        yield server


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble(busy: Server, name: str) -> None:
    """Whatever comes instead of an answer: the last value stays, health says why, and all is well again after."""
    spoil, why = TROUBLES[name]

    with Faulty(busy.url) as between:
        settings = Settings(prometheus=between.url, prometheus_interval=0.1)
        with running(settings) as (source, health):
            wait_until(lambda: health().ok, "a first answer")
            before = source.read(time.time())
            between.spoil = spoil
            wait_until(lambda: not health().ok, "the trouble to show")
            wait_until(lambda: health().why == why, f"{why!r}, not {health().why!r}")
            after = source.read(time.time())
            between.spoil = None
            wait_until(lambda: health().ok, "the recovery")

    assert before.block is not None
    assert before.block.tokens == 2000
    assert after.block == before.block
    assert after.week_tokens == before.week_tokens
    assert after.traffic == before.traffic


def test_down_from_the_start(tmp_path: Path) -> None:
    """No Prometheus yet: nothing is claimed, the reason is reported, and when it comes up its figures are there."""
    server = Server(tmp_path)
    now = time.time()
    server.fill([Series(labels("a"), counted([(now - 120, 7)], now + 900))])

    with running(Settings(prometheus=server.url, prometheus_interval=0.1)) as (source, health):
        down = source.read(time.time())
        with server:
            wait_until(lambda: health().ok, "the figures")
            up = source.read(time.time())

    assert (down.traffic, down.block, down.week_tokens) == (None, None, None)
    assert down.sources["fuel"] == Health("prometheus", ok=False, why="connection refused")
    assert up.block is not None
    assert up.block.tokens == 7


def test_killed_and_started_again(tmp_path: Path) -> None:
    """Prometheus dies and comes back: the last value stays meanwhile."""
    now = time.time()
    server = Server(tmp_path).fill([Series(labels("a"), counted([(now - 120, 7)], now + 900))])

    with server, running(Settings(prometheus=server.url, prometheus_interval=0.1)) as (source, health):
        wait_until(lambda: health().ok, "a first answer")
        server.stop()
        wait_until(lambda: health().why == "connection refused", "the loss to be seen")
        lost = source.read(time.time())
        server.start()
        wait_until(lambda: health().ok, "the recovery")

    assert lost.block is not None
    assert lost.block.tokens == 7


def test_no_claude_code_metrics(tmp_path: Path) -> None:
    """A Prometheus that never saw Claude Code is said to be one: nothing is at rest, all is unknown."""
    with Server(tmp_path) as server, running(Settings(prometheus=server.url)) as (source, health):
        reported = health()
        reading = source.read(time.time())

    assert reported == Health("prometheus", ok=False, why="no Claude Code metrics")
    assert (reading.traffic, reading.block, reading.week_tokens) == (None, None, None)


def test_unknown_host() -> None:
    """A name that does not resolve is reported as such."""
    with running(Settings(prometheus="http://no-such-host.invalid:9090")) as (_, health):
        wait_until(lambda: health().why != "not asked yet", "an answer")
        reported = health()

    assert reported.why in {"name not found", "no answer in 1 s"}


def test_a_drip(busy: Server) -> None:
    """An answer that drips byte by byte, each in time, is given up as a whole."""
    port = free_port()
    end = threading.Event()

    def drip() -> None:
        import socket  # noqa: PLC0415 - a server of four lines

        with socket.create_server(("127.0.0.1", port)) as listening:
            listening.settimeout(PATIENCE_S)
            caller, _ = listening.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not end.wait(0.3):
                    try:
                        caller.sendall(b" ")
                    except OSError:
                        return

    thread = threading.Thread(target=drip)
    thread.start()
    wait_until(lambda: port, "the port")
    try:
        with running(Settings(prometheus=f"http://127.0.0.1:{port}")) as (_, health):
            reported = wait_until(lambda: health().why == "no answer in 1 s", "the end of patience")
    finally:
        end.set()
        thread.join()

    assert reported
    assert busy


def test_gzip_bomb(busy: Server) -> None:
    """What is small on the wire and huge unpacked is refused, too."""
    bomb = gzip.compress(b" " * (4 * MOST_BYTES))

    with Faulty(busy.url) as between:
        between.spoil = lambda _: Reply(body=bomb, encoding="gzip")
        with running(Settings(prometheus=between.url)) as (_, health):
            wait_until(lambda: health().why != "not asked yet", "an answer")
            reported = health()

    assert reported.why == "answer is too big"


def test_one_round_per_interval(busy: Server) -> None:
    """However often it is read, it asks once per interval; and it reports changes, not rounds."""
    news: list[float] = []

    with Faulty(busy.url) as between:
        source = Prometheus(Settings(prometheus=between.url, prometheus_interval=3600))
        source.start(lambda: news.append(time.time()))
        wait_until(lambda: source.read(time.time()).sources["tach"].ok, "the first round")
        asked = len(between.requests)
        for _ in range(1000):
            source.read(time.time())
        source.stop()

    assert 0 < asked == len(between.requests) <= 8
    assert len(news) == 1


def test_get_where_post_is_forbidden(busy: Server) -> None:
    """A gateway that lets only GET through is served by GET."""
    with Faulty(busy.url) as between:
        between.refuse_posts = True
        with running(Settings(prometheus=between.url, prometheus_interval=3600)) as (source, health):
            reported = health()
            block = source.read(time.time()).block

    assert reported.ok
    assert block is not None
    assert block.tokens == 2000


def test_clock_ahead(busy: Server) -> None:
    """A publisher whose clock is wrong still asks for the right minutes, and reports times by its own clock."""
    wrong = 1234.0

    source = Prometheus(Settings(prometheus=busy.url), clock=lambda: time.time() + wrong)
    source.load()
    true = Prometheus(Settings(prometheus=busy.url))
    true.load()
    ours, theirs = source.read(time.time() + wrong), true.read(time.time())

    assert ours.block is not None
    assert theirs.block is not None
    assert ours.block.tokens == theirs.block.tokens == 2000
    assert ours.block.start is not None
    assert ours.block.start - wrong == pytest.approx(theirs.block.start, abs=3)
