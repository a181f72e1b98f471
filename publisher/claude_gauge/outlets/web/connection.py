"""One client: its requests in order, its answers in order, and for /events only ever the newest value."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import Protocol, cast

from claude_gauge.outlets.web.answer import Answer, Dates, error
from claude_gauge.outlets.web.request import HEAD_LIMIT, BadRequestError, Request, parse
from claude_gauge.outlets.web.site import Site

LINGER_S = 1.0
STREAM_BUFFER = 16_384  # what a stream that is not read may hold in the kernel


class Keeper(Protocol):
    """What a connection needs of the server that keeps it."""

    loop: asyncio.AbstractEventLoop
    site: Site
    dates: Dates
    connections: set[Connection]

    def asking(self, connection: Connection) -> None:
        """Start the deadline of a request's head."""

    def answered(self, connection: Connection, *, more: bool) -> None:
        """End that deadline; `more`: the next request has begun."""

    def begin_stream(self, connection: Connection) -> bytes | None:
        """Make it a stream and return what it is told first; None where there are too many."""

    def gone(self, connection: Connection) -> None:
        """Forget it."""


class Connection(asyncio.Protocol):
    """The state of one TCP connection."""

    def __init__(self, server: Keeper) -> None:
        self._server = server
        self._transport = cast("asyncio.Transport", None)
        self._buffer = bytearray()
        self._full = False
        self._ending = False
        self._newest: bytes | None = None
        self.streaming = False
        self.stuck_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first request's head has to be here within the deadline."""
        self._transport = cast("asyncio.Transport", transport)
        if self not in self._server.connections:  # it had to make room before it was here
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        """Forget it."""
        self._server.gone(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; a stream's client has nothing more to say."""
        if self._ending or self.streaming:
            return
        if not self._buffer:
            self._server.asking(self)
        self._buffer += data
        self._serve()

    def pause_writing(self) -> None:
        """Answer nothing more until the client reads again."""
        self._full = True
        self.stuck_since = self._server.loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._full = False
        self.stuck_since = None
        self._transport.resume_reading()
        if self.streaming:
            newest, self._newest = self._newest, None
            if newest is not None:
                self.send(newest)
        else:
            self._serve()

    def send(self, event: bytes) -> None:
        """Send an event of the stream; while the client does not read, the newest one replaces what waits."""
        if self._full:
            self._newest = event
        else:
            self._transport.write(event)

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        while not (self._full or self._ending or self.streaming):
            while self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT + 4)
            if end < 0:
                if len(self._buffer) > HEAD_LIMIT:
                    self._refuse(BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long"))
                return
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            try:
                self._answer(parse(head))
            except BadRequestError as bad:
                self._refuse(bad)

    def _answer(self, request: Request) -> None:
        answer = self._server.site.answer(request)
        if answer.stream and request.method == "GET":
            self._stream(answer)
            return
        keep_alive = request.keep_alive and not request.has_body and not answer.stream
        self._write(answer, keep_alive=keep_alive, head_only=request.method == "HEAD")
        if keep_alive:
            self._server.answered(self, more=bool(self._buffer))
        else:
            self._end(linger=request.has_body)

    def _stream(self, answer: Answer) -> None:
        first = self._server.begin_stream(self)
        if first is None:
            self._write(
                error(HTTPStatus.SERVICE_UNAVAILABLE, "too many streams", ("Retry-After", "30")), keep_alive=False
            )
            self._end(linger=False)
            return
        self.streaming = True
        self._buffer.clear()
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
        self._transport.set_write_buffer_limits(high=0)
        self._write(answer, keep_alive=False)
        self.send(first)

    def _refuse(self, bad: BadRequestError) -> None:
        self._write(error(bad.status, str(bad)), keep_alive=False)
        self._end(linger=True)

    def _write(self, answer: Answer, *, keep_alive: bool, head_only: bool = False) -> None:
        date = self._server.dates.line()
        self._transport.write(answer.to_bytes(date, keep_alive=keep_alive, head_only=head_only))

    def _end(self, *, linger: bool) -> None:
        """End after the answer; what the client still sends is read for a moment, else a reset could eat the answer."""
        self._ending = True
        self._buffer.clear()
        if linger and self._transport.can_write_eof():
            self._transport.write_eof()
            self._server.loop.call_later(LINGER_S, self._transport.abort)
        else:
            self._transport.close()
