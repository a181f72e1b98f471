"""The server as the publisher uses it: started, given each payload, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from claude_gauge.contract.scales import as_json
from claude_gauge.errors import GaugeError
from claude_gauge.outlets.web.hosts import Hosts
from claude_gauge.outlets.web.server import Server
from claude_gauge.outlets.web.site import Site

T = TypeVar("T")
DEFAULT_REDLINE = 1_000_000.0
log = logging.getLogger(__name__)


class Shim:
    """HTTP on a thread of its own; a request only ever touches the bytes that were pushed last."""

    def __init__(
        self,
        address: str,
        health: Callable[[], Mapping[str, Any]],
        *,
        scales: Mapping[str, Any] | None = None,
        hosts: Iterable[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.host = self.host.strip("[]")
        self.port = int(port)
        self._site = Site(Hosts(self.host, hosts), health, as_json(DEFAULT_REDLINE) if scales is None else scales, now)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen; raises GaugeError where the address can't be had."""
        listener = _listen(self.host, self.port, self.address)
        self.port = int(listener.getsockname()[1])
        self._server = Server(asyncio.new_event_loop(), listener, self._site)
        self._thread = threading.Thread(target=_run, args=(self._server,), name="http", daemon=True)
        self._thread.start()
        log.info("http: http://%s:%d/", f"[{self.host}]" if ":" in self.host else self.host, self.port)

    def push(self, payload: bytes) -> None:
        """Show this payload from now on; from any thread, never blocks."""
        if self._server is None:
            self._site.push(payload)
            return
        self._soon(self._server.push, payload)

    def remember(self, minutes: Mapping[int, int]) -> None:
        """Fill the strip with what was used before the first payload: tokens by minute, numbered from the epoch."""
        if self._server is not None:
            self._soon(self._server.remember, minutes)

    def _soon(self, do: Callable[[T], None], what: T) -> None:
        with contextlib.suppress(RuntimeError):  # it was stopped
            if self._server is not None:
                self._server.loop.call_soon_threadsafe(do, what)

    def stop(self) -> None:
        """End every connection and the thread; safe to call twice, and before `start`."""
        if self._server is not None and self._thread is not None and self._thread.is_alive():
            self._server.loop.call_soon_threadsafe(self._server.loop.stop)
            self._thread.join(5)


def _run(server: Server) -> None:
    try:
        server.loop.run_forever()
        server.close()
        server.loop.run_until_complete(asyncio.sleep(0))
    finally:
        server.loop.close()


def _listen(host: str, port: int, address: str) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as trouble:
        raise GaugeError(f"http: {address} is no address of this machine: {trouble.strerror}; mend --http") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(1024)
        listener.settimeout(0)
    except OSError as trouble:
        listener.close()
        raise GaugeError(
            f"http: cannot listen on {address}: {trouble.strerror}; choose another address with --http, or `--http off`"
        ) from None
    return listener
