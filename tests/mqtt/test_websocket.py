"""Websocket frames, however a broker cuts MQTT into them and the network cuts them."""

from __future__ import annotations

import contextlib
import socket
import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import _WebsocketWrapper

from claude_gauge.mqtt.websocket import Websocket

DATA, MORE, CLOSE, PING, PONG = 2, 0, 8, 9, 10
LARGE = 32 * 2**20


class Connected(_WebsocketWrapper):
    """paho's wrapper of a socket whose handshake is over."""

    def _do_handshake(self, _extra_headers: object) -> None:
        self.connected = True


@contextlib.contextmanager
def _pair() -> Iterator[tuple[Websocket, socket.socket]]:
    """Make a reader and the broker's end of its connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003 - the socket's own
        yield Websocket(Connected(ours, "h", 1, False, "/", None)), theirs  # noqa: FBT003 - paho's order


def _head(kind: int, length: int, *, last: bool = True) -> bytes:
    first = bytes([kind | (0x80 if last else 0)])
    if length < 126:
        return first + bytes([length])
    return first + (b"\x7e" + struct.pack("!H", length) if length < 65536 else b"\x7f" + struct.pack("!Q", length))


def _read(reader: Websocket, most: int) -> bytes:
    """Read all that is there."""
    data = b""
    while True:
        try:
            more = reader.recv(most)
        except BlockingIOError:
            if not _waits(reader):
                return data
            continue
        if not more:
            return data
        data += more


def _waits(reader: Websocket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(reader._socket.recv(1, socket.MSG_PEEK))
    return False


SIZES = st.integers(0, 300) | st.sampled_from([125, 126, 65535, 65536])
FRAMES = st.lists(st.tuples(st.sampled_from([DATA, MORE, PING, PONG]), SIZES), max_size=8)


@given(frames=FRAMES, most=st.integers(1, 70_000), cuts=st.lists(st.integers(1, 40), max_size=20))
def test_any_frames(frames: list[tuple[int, int]], most: int, cuts: list[int]) -> None:
    """What is read is what the data frames hold, in order; each ping is answered by a masked pong."""
    sent, pings, wire = b"", [], b""
    for number, (kind, size) in enumerate(frames):
        length = min(size, 125) if kind >= CLOSE else size
        payload = bytes([number]) * length
        wire += _head(kind, length) + payload
        sent += payload if kind < CLOSE else b""
        pings += [payload] if kind == PING else []
    received = b""
    with _pair() as (reader, broker):
        for cut in [*cuts, len(wire)]:
            for at in range(0, len(wire[:cut]), 16_384):
                broker.sendall(wire[:cut][at : at + 16_384])
                received += _read(reader, most)
            wire = wire[cut:]
        answers = broker.recv(65536) if pings else b""

    assert received == sent
    assert _pongs(answers) == pings


def _pongs(data: bytes) -> list[bytes]:
    pongs = []
    while data:
        assert data[0] == 0x80 | PONG
        assert data[1] & 0x80
        size, mask = data[1] & 0x7F, data[2:6]
        pongs.append(bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[6 : 6 + size])))
        data = data[6 + size :]
    return pongs


@pytest.mark.parametrize("end", [b"", _head(CLOSE, 2) + b"\x03\xe8", b"\x82\x81abcdx"], ids=["cut", "closed", "masked"])
def test_end(end: bytes) -> None:
    """A broker that is gone, says goodbye or masks its frames is at its end."""
    with _pair() as (reader, broker):
        broker.sendall(_head(DATA, 3) + b"abc" + end)
        broker.shutdown(socket.SHUT_WR)

        assert reader.recv(10) == b"abc"
        assert reader.recv(10) == b""
        assert not reader.connected


def test_a_frame_is_not_kept() -> None:
    """A frame of many megabytes takes no memory."""
    piece = bytes(65536)
    with _pair() as (reader, broker):
        broker.sendall(_head(DATA, LARGE))
        tracemalloc.start()
        for _ in range(LARGE // len(piece)):
            broker.sendall(piece)
            left = len(piece)
            while left:
                left -= len(reader.recv(left))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert highest < 2**20
