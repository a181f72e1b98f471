from __future__ import annotations

import contextlib
import json

import pytest
from tests.support.http import Wire, get, shown
from tests.support.net import wait_until
from tests.support.payloads import usage

from claude_gauge.outlets.web.shim import Shim
from claude_gauge.system.http import server

ASK = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def opened(port: int, **options: int) -> Wire:
    """Open the stream and read its head."""
    wire = Wire(port, **options).send(ASK)
    head = wire.until(b"\r\n\r\n")
    assert b"text/event-stream" in head
    wire.until(b"retry: 1000\n\n")
    return wire


def rate(wire: Wire) -> float:
    """Read on to the next payload and return its rate."""
    while True:
        event = wire.until(b"\n\n")
        if event.startswith(b"data: "):
            return float(json.loads(event[6:])["rate_1m"])


def test_newest_at_once(shim: Shim) -> None:
    """Whoever opens the stream gets the newest payload and its age at once, then every further one."""
    shim.push(usage(rate_1m=1).to_json())
    shown_first = usage(rate_1m=2).to_json()
    shim.push(shown_first)
    shown(shim.port, shown_first)
    with opened(shim.port) as wire:
        assert wire.until(b"\n\n").startswith(b"event: age\ndata: ")
        assert rate(wire) == 2
        shim.push(usage(rate_1m=3).to_json())

        assert rate(wire) == 3


def test_before_the_first_payload(shim: Shim) -> None:
    """A stream opened before there is a payload waits for it."""
    with opened(shim.port) as wire:
        shim.push(usage(rate_1m=4).to_json())

        assert rate(wire) == 4


def test_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without news beats, so that neither end takes it for dead."""
    monkeypatch.setattr(server, "BEAT_S", 0.05)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with opened(shim.port) as wire:
        assert wire.until(b": beat\n\n")
        assert wire.until(b": beat\n\n")
    shim.stop()


def test_slow_reader_gets_the_newest(shim: Shim) -> None:
    """A reader that fell behind skips what it missed and gets the newest value; others get each one meanwhile."""
    late: list[float] = []
    with opened(shim.port) as quick, opened(shim.port, receive_buffer=4096) as slow:
        for number in range(1000):
            shim.push(usage(rate_1m=number).to_json())
            assert rate(quick) == number
        while not late or late[-1] != 999:
            late.append(rate(slow))

    assert len(late) < 500
    assert late == sorted(late)


def test_fifty_streams(shim: Shim) -> None:
    """Fifty readers all get a change."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(opened(shim.port)) for _ in range(50)]
        shim.push(usage(rate_1m=7).to_json())

        assert [rate(wire) for wire in wires] == [7] * 50


def test_too_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are counted: beyond the most one that nobody reads makes room, else the oldest; a new one is served."""
    monkeypatch.setattr(server, "STREAMS", 3)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with opened(shim.port) as oldest, opened(shim.port, receive_buffer=4096) as unread, opened(shim.port) as third:
        for number in range(1000):
            shim.push(usage(rate_1m=number).to_json())
            assert rate(oldest) == rate(third) == number
        with opened(shim.port) as new:
            assert rate(new) == 999
            assert unread.ended()
            shim.push(usage(rate_1m=5000).to_json())
            assert rate(oldest) == rate(third) == 5000
            with opened(shim.port):
                assert oldest.ended()
                assert get(shim.port, "/healthz").status == 200
    shim.stop()


def test_reader_that_never_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that nobody reads from is ended in time."""
    monkeypatch.setattr(server, "BEAT_S", 0.05)
    monkeypatch.setattr(server, "STUCK_S", 0.1)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with opened(shim.port, receive_buffer=4096):
        for number in range(2000):
            shim.push(usage(rate_1m=number).to_json())
        streams = shim._site.own.streams

        wait_until(lambda: not streams, "the stuck stream to be ended")
    shim.stop()


def test_head_of_the_stream(shim: Shim) -> None:
    """`HEAD /events` says what it is and ends."""
    with Wire(shim.port) as wire:
        assert wire.ask("/events", method="HEAD").headers["content-type"] == "text/event-stream"
        assert wire.ended()


def test_stop_ends_streams(shim: Shim) -> None:
    """When the publisher ends, every stream ends with it at once."""
    with opened(shim.port) as wire:
        shim.stop()

        assert wire.ended()
