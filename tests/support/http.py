"""An HTTP client that can misbehave: it sends what it is reported and shows every byte that came back."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from tests.support.net import PATIENCE_S, wait_until


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the server said
        """Read the body as JSON."""
        return json.loads(self.body)


class Wire:
    """One TCP connection."""

    def __init__(self, port: int, *, timeout_s: float = PATIENCE_S, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        self._rest = b""

    def send(self, data: bytes) -> Self:
        """Send raw bytes; the server may have hung up already."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
        return self

    def ask(self, target: str, *headers: str, method: str = "GET", host: str = "localhost") -> Reply:
        """Send one good request and return its answer."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        return self.send("\r\n".join(lines).encode()).reply(head_only=method == "HEAD")

    def until(self, end: bytes) -> bytes:
        """Read up to and including `end`; raises where the connection ends before."""
        while end not in self._rest:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(f"ended before {end!r}: {self._rest!r}")
            self._rest += more
        found, _, self._rest = self._rest.partition(end)
        return found + end

    def reply(self, *, head_only: bool = False) -> Reply:
        """Read one answer."""
        first, *lines = self.until(b"\r\n\r\n").decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self._rest += self.socket.recv(65536)
        body, self._rest = self._rest[:length], self._rest[length:]
        return Reply(int(first.split()[1]), headers, body)

    def ended(self) -> bool:
        """Read all that is left and return whether the server ended the connection."""
        try:
            while more := self.socket.recv(65536):
                self._rest += more
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def get(port: int, target: str, *headers: str, method: str = "GET", host: str = "localhost") -> Reply:
    """Ask once, on a connection of its own."""
    with Wire(port) as wire:
        return wire.ask(target, *headers, method=method, host=host)


def shown(port: int, payload: bytes) -> None:
    """Wait until the server answers with this payload."""
    wait_until(lambda: get(port, "/usage").body == payload, "the pushed payload at /usage")
