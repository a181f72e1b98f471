"""Many nodes as a broker sees them: a connection each, bare MQTT 3.1.1 at QoS 1, from one light thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable
from typing import Self

from tests.support.net import PATIENCE_S


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


class Swarm:
    """Connections of `count` nodes, named n0, n1, …; every acknowledgement is counted."""

    def __init__(self, port: int, count: int) -> None:
        self.names = [f"n{number}" for number in range(count)]
        self.sent = self.acked = 0
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[str, socket.socket] = {}
        for name in self.names:
            connection = socket.create_connection(("127.0.0.1", port), 10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(
                _packet(0x10, _text("MQTT") + b"\x04\x02" + struct.pack(">H", 60) + _text(f"swarm-{name}"))
            )
            assert connection.recv(4) == b"\x20\x02\x00\x00", "the broker refused a node"
            connection.settimeout(0)
            self._selector.register(connection, selectors.EVENT_READ)
            self._sockets[name] = connection

    def say(self, name: str, topic: str, payload: bytes) -> None:
        """Publish one retained message of a node."""
        self.sent += 1
        number = struct.pack(">H", self.sent % 65535 + 1)
        connection = self._sockets[name]
        connection.settimeout(PATIENCE_S)
        connection.sendall(_packet(0x33, _text(topic) + number + payload))
        connection.settimeout(0)

    def read(self, seconds: float) -> None:
        """Take in acknowledgements for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                with contextlib.suppress(BlockingIOError):
                    self.acked += len(key.fileobj.recv(65536)) // 4  # type: ignore[union-attr]
            if self.acked >= self.sent:
                return

    def run(self, hertz: float, seconds: float, payload: Callable[[str, int], bytes]) -> int:
        """Publish every node's payload at this rate, evenly spread; return the number of rounds."""
        gap = 1 / hertz / len(self.names)
        start = time.monotonic()
        rounds = int(hertz * seconds)
        for turn in range(rounds):
            for number, name in enumerate(self.names):
                wait = start + (turn * len(self.names) + number) * gap - time.monotonic()
                if wait > 0.001:
                    self.read(wait)
                    time.sleep(max(0.0, start + (turn * len(self.names) + number) * gap - time.monotonic()))
                self.say(name, f"claude-gauge/{name}/usage", payload(name, turn))
        return rounds

    def close(self) -> None:
        """Leave in good order."""
        for connection in self._sockets.values():
            with contextlib.suppress(OSError):
                connection.sendall(b"\xe0\x00")
            connection.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
