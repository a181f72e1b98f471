"""Reads MQTT out of websocket frames as they come; paho keeps each frame whole, and looks at all of it for each piece.

A frame is a head of 2 to 10 bytes and a payload, which may be gigabytes. Of a data frame the head alone is kept; a
control frame (close, ping, pong) has 125 bytes at most and is kept until it is whole. Servers do not mask theirs.
"""

from __future__ import annotations

from typing import Any

from paho.mqtt.client import _WebsocketWrapper

_LENGTH_BYTES = {126: 2, 127: 8}  # a head's length that says how many bytes the real one has
_CONTROL, _CLOSE, _PING, _PONG = 0x8, 0x8, 0x9, 0xA
_MASKED = 0x80


class Websocket:
    """Stands for paho's wrapper of a socket, which has done the handshake and goes on to write the frames."""

    def __init__(self, paho: _WebsocketWrapper) -> None:
        self._paho = paho
        self._head = bytearray()
        self._left = 0  # of the data frame that is being read

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else paho asks of its wrapper
        return getattr(self._paho, name)

    def recv(self, length: int) -> bytes:
        """Return at most so many bytes, b"" at the end; raises BlockingIOError (or ssl's own) where none are there."""
        try:
            if not self._left:
                self._begin()
            data = self._receive(min(length, self._left))
        except ConnectionError:
            self._paho.connected = False
            return b""
        self._left -= len(data)
        return data

    def _receive(self, length: int) -> bytes:
        data: bytes = self._paho._socket.recv(length)  # noqa: SLF001 - there is no public way to it
        if not data:
            raise ConnectionAbortedError("the broker closed the websocket")
        return data

    def _begin(self) -> None:
        """Read a frame's head; a control frame is answered, and nothing is there yet."""
        head = self._whole(2)
        if head[1] & _MASKED:
            raise ConnectionAbortedError("the broker masks its frames")
        more = _LENGTH_BYTES.get(head[1], 0)
        length = int.from_bytes(self._whole(2 + more)[2:], "big") if more else head[1]
        control = head[0] & 0xF
        if control >= _CONTROL:
            payload = self._whole(2 + min(length, 125))[2:]
            self._head.clear()
            self._answer(control, payload)
        else:
            self._head.clear()
            self._left = length
        if not self._left:
            raise BlockingIOError

    def _whole(self, size: int) -> bytearray:
        """Return a frame's first bytes, once they are there; what has come is kept until then."""
        while len(self._head) < size:
            self._head += self._receive(size - len(self._head))
        return self._head[:size]

    def _answer(self, control: int, payload: bytearray) -> None:
        if control == _CLOSE:
            raise ConnectionAbortedError("the broker ends the websocket")
        if control == _PING and not self._paho._sendbuffer:  # noqa: SLF001 - never into the middle of another frame
            self._paho._socket.send(self._paho._create_frame(_PONG, payload))  # noqa: SLF001
