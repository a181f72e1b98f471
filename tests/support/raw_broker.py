"""A fake broker that says byte for byte what a test wants: what no real broker would do, or only once a year."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14
CONNACK = b"\x20\x03\x00\x00\x00"  # MQTT 5: accepted, no properties
CONNACK_311 = b"\x20\x02\x00\x00"


@dataclass(frozen=True)
class Packet:
    """A whole packet of the client: its type, the flags beside that, and what follows the length."""

    kind: int
    flags: int
    body: bytes

    @property
    def topic(self) -> str:
        """A PUBLISH's topic."""
        return self.body[2 : 2 + struct.unpack_from("!H", self.body)[0]].decode()

    @property
    def mid(self) -> int:
        """The id of a SUBSCRIBE, or of a PUBLISH of QoS 1."""
        at = 0 if self.kind == SUBSCRIBE else 2 + len(self.topic.encode())
        return int(struct.unpack_from("!H", self.body, at)[0])

    @property
    def filter(self) -> str:
        """The filter of a SUBSCRIBE of MQTT 5 with no properties."""
        return self.body[5 : 5 + struct.unpack_from("!H", self.body, 3)[0]].decode()

    @property
    def payload(self) -> bytes:
        """The payload of a PUBLISH of MQTT 5 and QoS 1, its properties shorter than 128 bytes."""
        start = 4 + len(self.topic.encode())
        return self.body[start + 1 + self.body[start] :]

    @property
    def five(self) -> bool:
        """Whether a CONNECT is of MQTT 5."""
        return self.body[6] == 5


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Make a packet of the broker's."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes([kind << 4 | flags]) + bytes(digits) + body


def publish(topic: str, payload: bytes, *, five: bool = True, retain: bool = False) -> bytes:
    """Make a PUBLISH of QoS 0."""
    name = topic.encode()
    return packet(PUBLISH, struct.pack("!H", len(name)) + name + (b"\0" if five else b"") + payload, int(retain))


class Wire:
    """One client's connection, from the broker's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.five = True

    def packets(self) -> Iterator[Packet]:
        """Yield the client's packets until it is gone."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = self._read(1)[0]
                length, shift = 0, 0
                while True:
                    digit = self._read(1)[0]
                    length |= (digit & 127) << shift
                    shift += 7
                    if not digit & 128:
                        break
                got = Packet(head >> 4, head & 15, self._read(length))
                if got.kind == CONNECT:
                    if got.body[2:6] != b"MQTT":
                        return  # somebody tries TLS
                    self.five = got.five
                yield got

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def send(self, data: bytes) -> None:
        """Send bytes; a client that is gone is no error."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def reset(self) -> None:
        """End the connection with a reset, as a machine that crashed and came back does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def answer(self, got: Packet) -> None:
        """Answer as a good broker does."""
        five = b"\0" if self.five else b""
        if got.kind == CONNECT:
            self.send(CONNACK if self.five else CONNACK_311)
        elif got.kind == SUBSCRIBE:
            self.send(packet(9, struct.pack("!H", got.mid) + five + b"\1"))
        elif got.kind == PUBLISH and got.flags & 6:
            self.send(packet(PUBACK, struct.pack("!H", got.mid)))
        elif got.kind == PINGREQ:
            self.send(b"\xd0\x00")


Script = Callable[[int, Wire], None]
"""What happens to a connection, and the how-manieth it is, from 0."""


@dataclass
class RawBroker:
    """Runs `script` for each connection, in a thread of its own; the connection ends with it."""

    script: Script
    host: str = "127.0.0.1"
    connections: int = 0
    place: str = ""  # host and port, as messages write them
    _server: socket.socket = field(init=False)

    def __enter__(self) -> Self:
        self._server = socket.create_server(
            (self.host, 0), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET
        )
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.place = f"{host}:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    @property
    def url(self) -> str:
        """Its URL."""
        return f"mqtt://{self.place}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                number, self.connections = self.connections, self.connections + 1
                threading.Thread(target=self._run, args=(number, sock), daemon=True).start()

    def _run(self, number: int, sock: socket.socket) -> None:
        with sock:
            self.script(number, Wire(sock))

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def good(_number: int, wire: Wire) -> None:
    """Be a good broker of QoS 1 that keeps nothing."""
    for each in wire.packets():
        wire.answer(each)


def refusing(_number: int, wire: Wire) -> None:
    """Take every message and refuse every subscription (HiveMQ, EMQX by default)."""
    for each in wire.packets():
        if each.kind == SUBSCRIBE:
            wire.send(packet(9, each.mid.to_bytes(2, "big") + (b"\0" if wire.five else b"") + b"\x87"))
        else:
            wire.answer(each)


def forgetful(_number: int, wire: Wire, connack: bytes = CONNACK) -> None:
    """Be a broker of MQTT 5 that sends a client what it writes, by the topic's full name, and keeps nothing."""
    filters = set()
    for each in wire.packets():
        if each.kind == CONNECT:
            wire.send(connack)
            continue
        wire.answer(each)
        if each.kind == SUBSCRIBE:
            filters.add(each.filter)
        elif each.kind == PUBLISH and each.topic in filters:
            wire.send(publish(each.topic, each.payload))
