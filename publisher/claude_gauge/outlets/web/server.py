"""The connections of all clients, on one event loop: accepted, counted, and ended when they are slow."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import resource
import socket
from collections.abc import Mapping
from http import HTTPStatus

from claude_gauge.contract.usage import HEARTBEAT_S
from claude_gauge.outlets.web.answer import Dates, error
from claude_gauge.outlets.web.connection import Connection
from claude_gauge.outlets.web.deadlines import Deadlines
from claude_gauge.outlets.web.site import Site

log = logging.getLogger(__name__)
HEAD_S = 5.0  # for a whole request's head, however many bytes it comes in
IDLE_S = 75.0  # between two requests
CONNECTIONS = 2000
STREAMS = 512
STUCK_S = 30.0
LOW_FDS = 1024  # left to the rest of the process: select(), which paho uses, can't take higher ones
BEAT = b": beat\n\n"


class Server:
    """All clients; every method runs on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: socket.socket, site: Site) -> None:
        self.loop = loop
        self.site = site
        self.dates = Dates()
        self.connections: set[Connection] = set()
        self._streams: set[Connection] = set()
        self._listener = listener
        self._asking: Deadlines[Connection] = Deadlines(loop, HEAD_S, Connection.abort)
        self._idle: Deadlines[Connection] = Deadlines(loop, IDLE_S, Connection.abort)
        self._accepting: set[asyncio.Task[object]] = set()
        self._beat: asyncio.TimerHandle | None = None
        self._most = _raise_limit()
        loop.add_reader(listener, self._accept)

    def push(self, payload: bytes) -> None:
        """Give every stream the newest payload."""
        self.site.push(payload)
        event = _event(payload)
        for stream in tuple(self._streams):
            stream.send(event)

    def remember(self, minutes: Mapping[int, int]) -> None:
        """Fill the strip with what was used before."""
        self.site.history.remember(minutes, self.site.now())

    def close(self) -> None:
        """End everything at once."""
        self.loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._accepting:
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()

    def asking(self, connection: Connection) -> None:
        """Note that a request's first bytes came."""
        self._idle.end(connection)
        self._asking.begin(connection)

    def answered(self, connection: Connection, *, more: bool) -> None:
        """Note that a request was answered; the next one may have begun already."""
        self._asking.end(connection)
        (self._asking if more else self._idle).begin(connection)

    def begin_stream(self, connection: Connection) -> bytes | None:
        """Make a connection a stream and return what it is told first; None where there are too many."""
        if len(self._streams) >= STREAMS:
            return None
        self._asking.end(connection)
        self._streams.add(connection)
        if self._beat is None:
            self._beat = self.loop.call_later(HEARTBEAT_S, self._beats)
        first = b"retry: 1000\n\n"
        if self.site.payload is not None:
            first += f"event: age\ndata: {self.site.age:.1f}\n\n".encode() + _event(self.site.payload)
        return first

    def gone(self, connection: Connection) -> None:
        """Forget a client that went."""
        self.connections.discard(connection)
        self._streams.discard(connection)
        self._asking.end(connection)
        self._idle.end(connection)

    def _beats(self) -> None:
        """Keep the streams open through proxies, and end those that nobody reads."""
        self._beat = None
        for stream in tuple(self._streams):
            if stream.stuck_since is None:
                stream.send(BEAT)
            elif self.loop.time() - stream.stuck_since > STUCK_S:
                stream.abort()
        if self._streams:
            self._beat = self.loop.call_later(HEARTBEAT_S, self._beats)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as trouble:
                self._pause(trouble)
                return
            self._take(client)

    def _pause(self, trouble: OSError) -> None:
        log.warning("http: cannot accept connections just now: %s", trouble)
        self._make_room()
        self.loop.remove_reader(self._listener)
        self.loop.call_later(0.5, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self.loop.add_reader(self._listener, self._accept)

    def _take(self, client: socket.socket) -> None:
        if len(self.connections) >= self._most and not self._make_room():
            with client, contextlib.suppress(OSError):
                client.settimeout(0)
                client.send(
                    error(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections").to_bytes(
                        self.dates.line(), keep_alive=False
                    )
                )
            return
        client = _out_of_the_way(client)
        client.settimeout(0)
        connection = Connection(self)
        self.connections.add(connection)
        self._asking.begin(connection)
        task = self.loop.create_task(self.loop.connect_accepted_socket(lambda: connection, client))
        self._accepting.add(task)
        task.add_done_callback(self._accepted)

    def _accepted(self, task: asyncio.Task[object]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and task.exception():
            log.debug("http: a connection ended before it began: %s", task.exception())

    def _make_room(self) -> bool:
        """End the client that has kept its request to itself the longest, else the one that was idle the longest."""
        victim = self._asking.oldest() or self._idle.oldest()
        if victim is None:
            return False
        self.gone(victim)
        victim.abort()
        return True


def _event(payload: bytes) -> bytes:
    return b"data: " + payload.replace(b"\r", b"").replace(b"\n", b"\ndata: ") + b"\n\n"


def _raise_limit() -> int:
    """Make room for the most connections as far as the system lets us, and return how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + LOW_FDS + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return min(CONNECTIONS, soft - LOW_FDS - 64 if soft > 2 * LOW_FDS else soft // 2)


def _out_of_the_way(client: socket.socket) -> socket.socket:
    """Move a client's descriptor up: a thousand clients must not take the low ones from the rest of the process."""
    try:
        high = fcntl.fcntl(client.fileno(), fcntl.F_DUPFD_CLOEXEC, LOW_FDS)
    except (OSError, ValueError):
        return client
    with client:
        return socket.socket(client.family, client.type, client.proto, fileno=high)
