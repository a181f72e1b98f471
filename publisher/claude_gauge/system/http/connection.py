"""One HTTP connection: requests and answers in order; of a feed a slow client gets only the newest value.

h11 reads requests and bodies and frames the answers. While the client is to send something, a connection is in a phase
with a deadline; while the worker thread answers, or a feed is sent, it is in none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable
from dataclasses import replace
from enum import Enum
from http import HTTPStatus
from itertools import islice
from operator import itemgetter
from typing import Generic, Protocol, TypeVar, cast

import h11

from claude_gauge.system.http.messages import (
    SERVER,
    Answer,
    HttpRequest,
    RefusedError,
    Route,
    Site,
    host_name,
    split_target,
)

T = TypeVar("T", bound=Hashable)
LOOK_S = 0.25


class Phase(Enum):
    """What a client is to send, and how many seconds it has for it, however many bytes come meanwhile."""

    HEAD = 5.0  # a request has begun, its head is not whole
    BODY = 30.0  # the head is, the body is not
    IDLE = 150.0  # between two requests: exporters keep a connection, by default for a minute


class Deadlines(Generic[T]):
    """Reports what is over its time; in one phase that is the same for all, so the first that began is due first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._due: dict[Phase, dict[T, float]] = {phase: {} for phase in Phase}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, one: T, phase: Phase) -> None:
        """Give it the phase's full time from now on."""
        self.end(one)
        self._due[phase][one] = self._loop.time() + phase.value
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def end(self, one: T) -> None:
        """Forget one that did what it had to, or is gone."""
        for waiting in self._due.values():
            waiting.pop(one, None)

    def oldest(self, *phases: Phase) -> T | None:
        """Return the one that has been in these phases the longest."""
        firsts = [(due - phase.value, one) for phase in phases for one, due in islice(self._due[phase].items(), 1)]
        return min(firsts, key=itemgetter(0), default=(0.0, None))[1]

    def __len__(self) -> int:
        return sum(map(len, self._due.values()))

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for waiting in self._due.values():
            while (one := next(iter(waiting), None)) is not None and waiting[one] <= now:
                del waiting[one]
                self._expired(one)
        if len(self):
            self._timer = self._loop.call_later(LOOK_S, self._look)


HEAD_LIMIT = 8192
LINGER_S = 1.0
STREAM_BUFFER = 16_384  # what a stream that is not read may hold in the kernel


class Keeper(Protocol):
    """What a connection needs of the server that keeps it."""

    loop: asyncio.AbstractEventLoop

    def date(self) -> str:
        """Return the Date header's text."""

    def came(self, connection: HttpConnection) -> None:
        """Take one more, which may mean that another has to go."""

    def phase(self, connection: HttpConnection, phase: Phase) -> None:
        """Note what it does, from now on."""

    def hold(self, connection: HttpConnection, size: int) -> None:
        """Count the bytes of its body; raises RefusedError where all bodies together are too many."""

    def work(self, connection: HttpConnection, route: Route, request: HttpRequest) -> None:
        """Have a request answered on the worker thread; ends in `connection.worked`."""

    def began_stream(self, connection: HttpConnection) -> None:
        """Note that it is a stream from now on."""

    def gone(self, connection: HttpConnection) -> None:
        """Forget it."""


class HttpConnection(asyncio.Protocol):
    """The state of one TCP connection."""

    def __init__(self, server: Keeper, site: Site) -> None:
        self.site = site
        self.stuck_since: float | None = None
        self._server = server
        self._transport = cast("asyncio.Transport", None)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._request: HttpRequest | None = None
        self._route: Route | None = None
        self._body = bytearray()
        self._busy = False  # a request is answered on the worker thread
        self._ending = False
        self._waiting: dict[str, bytes] = {}  # the newest event per stream for a client that does not read
        self._answer: Answer | None = None  # of a stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first request's head has to be here within the deadline."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.came(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        """Forget it."""
        self._ending = True
        self._server.gone(self)
        if self._answer is not None and self._answer.feed is not None:
            self._answer.feed.left(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; a stream's client has nothing more to say."""
        if self._ending or self._answer is not None:
            return
        if self._request is None and self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
            self._server.phase(self, Phase.HEAD)
            data = data.lstrip(b"\r\n")  # an empty line too many between requests is overlooked
            if not data:
                return
        self._http.receive_data(data)
        self._serve()

    def eof_received(self) -> bool:
        """Let a client that has no more to say still get its answers."""
        if not self._ending and self._answer is None:
            self._http.receive_data(b"")
            self._serve()
        return True

    def pause_writing(self) -> None:
        """Answer nothing more until the client reads again."""
        self.stuck_since = self._server.loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self.stuck_since = None
        if self._answer is None:
            self._transport.resume_reading()
            self._serve()
            return
        waiting, self._waiting = self._waiting, {}
        for about, event in waiting.items():
            self.send(event, about)

    def send(self, event: bytes, about: str = "") -> None:
        """Send an event of the feed; while the client does not read, only the newest about one thing waits."""
        if self.stuck_since is None:
            self._transport.write(event)
        else:
            self._waiting[about] = event

    def abort(self) -> None:
        """End it at once."""
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        while not (self._ending or self._busy or self._answer is not None or self.stuck_since is not None):
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
            except h11.RemoteProtocolError as bad:
                self._refuse(RefusedError(HTTPStatus(bad.error_status_hint), f"that is no HTTP request: {bad}"))
            except RefusedError as refused:
                self._refuse(refused)

    def _take(self, event: object) -> None:
        match event:
            case h11.Request():
                self._begin(event)
            case h11.Data() if self._route is not None:
                size = len(self._body) + len(event.data)
                _bound(size, self._route)
                self._server.hold(self, size)
                self._body += event.data
            case h11.EndOfMessage() if self._route is not None and self._request is not None:
                self._answer_to(replace(self._request, body=bytes(self._body)), self._route)
            case h11.ConnectionClosed():
                self._end(linger=False)

    def _begin(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        headers: dict[str, str] = {}
        left = HEAD_LIMIT - len(event.target)
        for raw, value in event.headers:
            left -= len(raw) + len(value)
            name, text = raw.decode(), value.decode("latin-1")
            headers[name] = f"{headers[name]},{text}" if name in headers else text
        if left < 0:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long")
        path, query, authority = split_target(event.target.decode("latin-1"))
        host = host_name(authority or headers.get("host", ""))
        request = HttpRequest(event.method.decode(), path, query, host, headers)
        self._request = request
        length = int(headers.get("content-length", 0))
        if length or "transfer-encoding" in headers:
            self._route = self.site.find(request)
            self._server.phase(self, Phase.BODY)
            _bound(length, self._route)
            if self._http.they_are_waiting_for_100_continue:
                self._transport.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        else:
            self._route = self._bodyless(request)

    def _bodyless(self, request: HttpRequest) -> Route:
        """Find the route of a request without a body; a refusal need not end the connection."""
        try:
            route = self.site.find(request)
        except RefusedError as refused:
            reply = self.site.refusal(refused)
            return Route(lambda _: reply)
        if route.body_limit and "content-length" not in request.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        return route

    def _answer_to(self, request: HttpRequest, route: Route) -> None:
        self._body = bytearray()
        if route.apart:
            self._busy = True
            self._transport.pause_reading()
            self._server.work(self, route, request)
        else:
            self._answered(self.site.respond(route, request))

    def worked(self, reply: Answer) -> None:
        """Send what the worker thread answered, and go on with the next request."""
        self._busy = False
        if not self._ending:
            self._transport.resume_reading()
            self._answered(reply)
            self._serve()

    def _answered(self, reply: Answer) -> None:
        asked, self._request, self._route = self._request, None, None
        self._server.hold(self, 0)
        if reply.feed is not None and asked is not None and asked.method == "GET":
            self._stream(reply)
            return
        self._write(reply, head_only=asked is not None and asked.method == "HEAD")
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._end(linger=self._http.their_state is h11.SEND_BODY)
            return
        self._http.start_next_cycle()
        self._server.phase(self, Phase.HEAD if self._http.trailing_data[0] else Phase.IDLE)

    def _write(self, reply: Answer, *, head_only: bool) -> None:
        headers = [*reply.headers, *self._own()]
        if reply.feed is not None:  # asked for by HEAD
            headers.append(("Connection", "close"))
        parts = [self._http.send(h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase))]
        if reply.body and not head_only:
            parts.append(self._http.send(h11.Data(data=reply.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part or b"" for part in parts))

    def _own(self) -> tuple[tuple[str, str], ...]:
        return (("Date", self._server.date()), ("Server", SERVER))

    def _stream(self, reply: Answer) -> None:
        """Begin a feed: framed by the connection's end, so that each event is written once for all."""
        self._answer = reply
        self._server.began_stream(self)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
        self._transport.set_write_buffer_limits(high=0)
        lines = [*reply.headers, *self._own(), ("Connection", "close")]
        head = "".join(["HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"])
        self._transport.write(head.encode())
        if reply.feed is not None:
            self.send(reply.feed.joined(self))

    def _refuse(self, refused: RefusedError) -> None:
        """Refuse a request; a body that was not read may follow, so the connection ends with it."""
        reply = self.site.refusal(refused)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(replace(reply, headers=(*reply.headers, ("Connection", "close"))), head_only=False)
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        """End after the answer; what the client still sends is read for a moment, else a reset could eat the answer."""
        self._ending = True
        self._server.hold(self, 0)
        if linger and self._transport.can_write_eof():
            self._transport.write_eof()
            self._server.loop.call_later(LINGER_S, self._transport.abort)
        else:
            self._transport.close()


def _bound(size: int, route: Route) -> None:
    if size > route.body_limit:
        why = f"a body is {route.body_limit} bytes at most" if route.body_limit else "no body is wanted here"
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why)
