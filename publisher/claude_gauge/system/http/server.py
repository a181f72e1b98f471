"""The server: one thread and one event loop for all addresses, and the bounds that all clients share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from claude_gauge.errors import GaugeError
from claude_gauge.system.http.connection import Deadlines, HttpConnection, Phase
from claude_gauge.system.http.messages import Answer, HttpRequest, RefusedError, Route, Site

log = logging.getLogger(__name__)
CONNECTIONS = 2000
STREAMS = 512
STUCK_S = 30.0
BEAT_S = 15.0
BEAT = b": beat\n\n"
BODIES = 16 * 2**20  # bytes that all bodies together may hold while they are read
OTHER_FILES = 128  # descriptors that the rest of the process may need
STOP_S = 5.0
MOST_PORT = 65_535


class Listener:
    """One address that a site is served at, until `close`."""

    def __init__(self, server: Server, clients: _Clients, bound: socket.socket) -> None:
        self.port = int(bound.getsockname()[1])
        self._server, self._clients = server, clients
        self._accepting: asyncio.Server | None = None
        self._site: Site | None = None

    async def open(self, bound: socket.socket, site: Site) -> None:
        """Accept; runs on the loop."""
        self._site = site
        make = functools.partial(HttpConnection, self._clients, site)
        self._accepting = await self._clients.loop.create_server(make, sock=bound, backlog=1024)

    def soon(self, do: Callable[..., object], *values: object) -> None:
        """Have something done on the server's thread, where sites live; from any thread, nothing once it is closed."""
        with contextlib.suppress(RuntimeError):
            self._clients.loop.call_soon_threadsafe(do, *values)

    def close(self) -> None:
        """Listen no more and cut the connections; safe to call twice."""
        self._server.closed(self)

    async def cut(self) -> None:
        """End at once; runs on the loop."""
        # asyncio drops a connection without closing it where its server is closed while it is being accepted.
        while beginning := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(beginning)
        if self._accepting is not None:
            self._accepting.close()
        for connection in [each for each in self._clients.connections if each.site is self._site]:
            connection.abort()


class Server:
    """Runs as long as it has a listener; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._clients: _Clients | None = None
        self._thread: threading.Thread | None = None

    def listen(self, address: str, site: Site, *, name: str, flag: str) -> Listener:
        """Serve a site at `host:port`; raises GaugeError where the address can't be had."""
        bound = bind(address, name=name, flag=flag)
        with self._lock:
            if self._clients is None:
                self._clients = _Clients(asyncio.new_event_loop())
                self._thread = threading.Thread(target=self._clients.run, name="http", daemon=True)
                self._thread.start()
            listener = Listener(self, self._clients, bound)
            asyncio.run_coroutine_threadsafe(listener.open(bound, site), self._clients.loop).result()
            self._listeners.append(listener)
        return listener

    def closed(self, listener: Listener) -> None:
        """End a listener; with the last one the thread ends."""
        with self._lock:
            if listener not in self._listeners or self._clients is None or self._thread is None:
                return
            self._listeners.remove(listener)
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(listener.cut(), self._clients.loop).result(STOP_S)
            if not self._listeners:
                self._clients.loop.call_soon_threadsafe(self._clients.loop.stop)
                self._thread.join(STOP_S)
                self._clients = self._thread = None


class _Clients:
    """All connections; every method but `run` is called on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connections: set[HttpConnection] = set()
        self.streams: dict[HttpConnection, None] = {}
        self.deadlines: Deadlines[HttpConnection] = Deadlines(loop, HttpConnection.abort)
        self._bodies: dict[HttpConnection, int] = {}
        self._held = 0
        self._worker, self._long_worker = ThreadPoolExecutor(1, "http-work"), ThreadPoolExecutor(2, "http-long")
        self._beat: asyncio.TimerHandle | None = None
        self._date = (0, "")
        self._most = _raise_limit()
        loop.set_exception_handler(self._trouble)

    def run(self) -> None:
        """Serve until the loop is stopped; a thread of its own runs this."""
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._end())
        finally:
            for worker in (self._worker, self._long_worker):
                worker.shutdown(wait=False, cancel_futures=True)
            self.loop.close()

    async def _end(self) -> None:
        """Abort what is left."""
        for connection in tuple(self.connections):
            connection.abort()
        await asyncio.sleep(0)

    def date(self) -> str:
        """Return the Date header's text, made once a second."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = second, formatdate(second, usegmt=True)
        return self._date[1]

    def came(self, connection: HttpConnection) -> None:
        """Take one more; beyond the limit the one that can be spared first has to go."""
        if len(self.connections) >= self._most:
            self._make_room()
        self.connections.add(connection)
        self.deadlines.begin(connection, Phase.HEAD)

    def phase(self, connection: HttpConnection, phase: Phase) -> None:
        """Note what a connection does, from now on."""
        self.deadlines.begin(connection, phase)

    def hold(self, connection: HttpConnection, size: int) -> None:
        """Count the bytes of a body; where all bodies together are too many, the oldest unfinished one has to go."""
        self._held += size - self._bodies.get(connection, 0)
        if size:
            self._bodies[connection] = size
        else:
            self._bodies.pop(connection, None)
        while self._held > BODIES:
            oldest = self.deadlines.oldest(Phase.BODY)
            if oldest is None or oldest is connection:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies at once", ("Retry-After", "1"))
            self.gone(oldest)
            oldest.abort()

    def work(self, connection: HttpConnection, route: Route, request: HttpRequest) -> None:
        """Have a request answered on a worker thread."""
        self.deadlines.end(connection)
        worker = self._long_worker if route.long(request) else self._worker
        task = worker.submit(connection.site.respond, route, request)
        task.add_done_callback(functools.partial(self._worked, connection))

    def _worked(self, connection: HttpConnection, task: Future[Answer]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            if not task.cancelled():
                self.loop.call_soon_threadsafe(connection.worked, task.result())

    def began_stream(self, connection: HttpConnection) -> None:
        """Note a new stream; beyond the limit one that nobody reads has to go, else the oldest."""
        self.deadlines.end(connection)
        if len(self.streams) >= STREAMS:
            self._spare_stream().abort()
        self.streams[connection] = None
        if self._beat is None:
            self._beat = self.loop.call_later(BEAT_S, self._beats)

    def gone(self, connection: HttpConnection) -> None:
        """Forget a client that went."""
        self.connections.discard(connection)
        self.streams.pop(connection, None)
        self._held -= self._bodies.pop(connection, 0)
        self.deadlines.end(connection)

    def _spare_stream(self) -> HttpConnection:
        stuck = (each for each in self.streams if each.stuck_since is not None)
        spared = next(stuck, None) or next(iter(self.streams))
        del self.streams[spared]
        return spared

    def _make_room(self) -> None:
        """End the oldest incomplete request, else the connection that is idle the longest, else a stream."""
        spared = self.deadlines.oldest(Phase.HEAD, Phase.BODY) or self.deadlines.oldest(Phase.IDLE)
        if spared is None and self.streams:
            spared = self._spare_stream()
        if spared is not None:
            self.gone(spared)
            spared.abort()

    def _beats(self) -> None:
        """Keep the streams open through proxies, and end those that nobody reads."""
        self._beat = None
        for stream in tuple(self.streams):
            if stream.stuck_since is None:
                stream.send(BEAT)
            elif self.loop.time() - stream.stuck_since > STUCK_S:
                stream.abort()
        if self.streams:
            self._beat = self.loop.call_later(BEAT_S, self._beats)

    def _trouble(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log asyncio's error: as a rule no connection can be accepted, since file descriptors have run out."""
        error = context.get("exception")
        if isinstance(error, OSError):
            log.warning("http: %s: %s", context.get("message"), error)
            self._make_room()
        else:
            log.error("http: %s", context.get("message"), exc_info=error)


def bind(address: str, *, name: str, flag: str) -> socket.socket:
    """Bind a listening socket; raises GaugeError where that fails."""
    host, _, port = address.rpartition(":")
    try:
        if int(port) > MOST_PORT:  # getaddrinfo would take it modulo 65536
            raise OverflowError(f"ports end at {MOST_PORT}")  # noqa: TRY301 - said as the others are
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise GaugeError(
            f"{name}: cannot listen on {address}: it is no address of this machine: {why}; correct {flag}"
        ) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(1024)
    except (OSError, OverflowError) as error:
        bound.close()
        why = getattr(error, "strerror", None) or error
        raise GaugeError(
            f"{name}: cannot listen on {address}: {why}; choose another address with {flag}, or `{flag} off`"
        ) from None
    return bound


def _raise_limit() -> int:
    """Make room for the most connections as far as the system lets us, and return how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return min(CONNECTIONS, soft - OTHER_FILES if soft > 2 * OTHER_FILES else soft // 2)
