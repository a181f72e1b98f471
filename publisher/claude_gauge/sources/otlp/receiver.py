"""The socket that OTLP/HTTP exporters send to: POST /v1/metrics and /v1/logs on loopback.

Hardened against what a local port meets: web pages (Host check, no CORS), senders that stall, bodies
that never end, more connections than wanted. It keeps nothing: every export goes to `accept`.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from claude_gauge.errors import GaugeError
from claude_gauge.sources.otlp.export import MAX_BODY, PATHS, Export, RefusedError, check_headers, understand
from claude_gauge.system.loopback import is_loopback

log = logging.getLogger(__name__)

REQUEST_S = 30.0  # a request takes no longer, however slowly its bytes drip
STALL_S = 10.0  # nor does one byte of it
IDLE_S = 150.0  # exporters keep a connection between exports, by default a minute apart
MAX_CONNECTIONS = 100
CHUNK_LINE = 1024
SERVER = "claude-gauge"
# A name that rebinding cannot take over: loopback's own, and what containers call their host.
LOCAL_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal", "gateway.docker.internal"})


class Receiver:
    """Listens at `address` and hands every understood export to `accept` before it is answered."""

    def __init__(self, address: str, accept: Callable[[Export], None], token: str | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._token = token
        self._accept = accept
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, of use where 0 was asked for."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Listen; raises GaugeError where the address can't be had."""
        if self._server is not None:
            return
        try:
            self._server = _Server(self._host, self._port, self._accept, self._token)
        except (OSError, OverflowError) as error:
            where = f"{self._host}:{self._port}"
            raise GaugeError(
                f"OTLP: cannot listen on {where}: {getattr(error, 'strerror', None) or error}; "
                "is a collector there already? choose another with --otlp"
            ) from None
        if not is_loopback(self._host) and self._token is None:
            log.warning("OTLP: %s is open to the network; guard it with --otlp-token-file or a firewall", self._host)
        threading.Thread(target=self._server.serve_forever, args=(0.5,), name="otlp", daemon=True).start()
        log.info("OTLP: listening on %s:%d", self._host, self.port)

    def stop(self) -> None:
        """Stop listening and cut all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut(lambda _: True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, accept: Callable[[Export], None], token: str | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.accept = accept
        self.authorization = None if token is None else f"Bearer {token}".encode()
        self.checks_host = is_loopback(host)
        self._open: dict[_Handler, None] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the reverse lookup that http.server does, which can hang without a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def opened(self, handler: _Handler) -> None:
        """Remember a connection; beyond the limit the one that is idle the longest makes room."""
        with self._lock:
            idle = next((each for each in self._open if each.deadline is None), handler)
            self._open[handler] = None
            full = len(self._open) > MAX_CONNECTIONS
            if full:
                del self._open[idle]
        if full:
            idle.cut()

    def closed(self, handler: _Handler) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.pop(handler, None)

    def cut(self, wanted: Callable[[_Handler], bool]) -> None:
        """Cut the wanted connections."""
        with self._lock:
            chosen = [handler for handler in self._open if wanted(handler)]
        for handler in chosen:
            handler.cut()

    def service_actions(self) -> None:
        """Every half second: cut the requests that take too long."""
        now = time.monotonic()
        self.cut(lambda handler: handler.deadline is not None and handler.deadline < now)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as socketserver calls it
        """Say a fault of ours; a peer that goes away in mid-sentence is everyday life."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("OTLP: an export from %s could not be taken: %r", client_address, error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = SERVER, ""
    wbufsize = -1  # one segment per answer
    server: _Server
    raw_requestline: bytes
    deadline: float | None = None

    def setup(self) -> None:
        super().setup()
        self.server.opened(self)

    def finish(self) -> None:
        self.server.closed(self)
        super().finish()

    def cut(self) -> None:
        """Cut the connection from another thread."""
        with contextlib.suppress(OSError):  # it may have gone by itself
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle_one_request(self) -> None:
        """Wait for a request at leisure, then have it take no longer than REQUEST_S."""
        try:
            self.connection.settimeout(IDLE_S)
            if not self.rfile.peek(1):  # type: ignore[attr-defined] # a BufferedReader, though declared BufferedIOBase
                self.close_connection = True
                return
            self.connection.settimeout(STALL_S)
            self.deadline = time.monotonic() + REQUEST_S
            super().handle_one_request()
        except OSError:
            self.close_connection = True
        finally:
            self.deadline = None

    def parse_request(self) -> bool:
        """Name the commonest wrong setting: OTLP over gRPC sent to the HTTP port."""
        if self.raw_requestline.startswith(b"PRI * HTTP/2"):
            log.warning("OTLP: something speaks gRPC here; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
        return super().parse_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself finds wrong as everything else is answered."""
        self.command = self.command or ""
        self.request_version = self.protocol_version
        self._refuse(RefusedError(HTTPStatus(code), message or explain or ""))

    def do_POST(self) -> None:
        """Take one export."""
        try:
            self._check_host()
            self._check_token()
            path = urlsplit(self.path).path
            content_type = self.headers.get("Content-Type", "")
            encoding = self.headers.get("Content-Encoding", "").strip()
            check_headers(path, content_type, encoding)
            export = understand(path, content_type, encoding, self._body())
            self.server.accept(export)
        except RefusedError as refused:
            self._refuse(refused)
            return
        self._answer(HTTPStatus.OK, export.content_type, export.answer())

    def _not_allowed(self) -> None:
        known = urlsplit(self.path).path in PATHS
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        self._refuse(RefusedError(status, "exports are sent with POST"))

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer every other method, where http.server looks for its `do_…`."""
        if name.startswith("do_"):
            return self._not_allowed
        raise AttributeError(name)

    def _check_host(self) -> None:
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        except ValueError:
            name = ""
        if self.server.checks_host and name not in LOCAL_NAMES and not is_loopback(name):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Host should be a name of this machine's loopback")

    def _check_token(self) -> None:
        wanted = self.server.authorization
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if wanted is not None and not hmac.compare_digest(given, wanted):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or another one")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()  # as the JavaScript exporter sends what it compresses
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        if int(length[:12]) > MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body is over {MAX_BODY} bytes")
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body is over {MAX_BODY} bytes")
            body += self._exactly(size)
            self._exactly(2)
        while self.rfile.readline(CHUNK_LINE).strip():
            pass  # trailers
        return bytes(body)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(CHUNK_LINE).partition(b";")[0].strip()
        try:
            return int(line[:8] if line.isalnum() else b"", 16)
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "broken chunk") from None

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("the sender went away")
        return data

    def _refuse(self, refused: RefusedError) -> None:
        self.close_connection = True  # its body was not read
        log.debug("OTLP: %r refused: %s", self.raw_requestline, refused)
        status = json.dumps({"code": 3, "message": str(refused)}).encode()  # google.rpc.Status, as OTLP wants it
        self._answer(refused.status, "application/json", status)

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, text: str, *values: object) -> None:
        """Keep http.server's own lines off stderr."""
        log.debug(text, *values)
