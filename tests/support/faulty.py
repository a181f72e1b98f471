"""Stands before a real HTTP server and spoils its answers as a test wishes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.net import HTTP, PATIENCE_S


@dataclass(frozen=True)
class Reply:
    """What is sent in place of the real answer, `hold_s` late."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    hold_s: float = 0.0
    encoding: str = "identity"


Spoil = Callable[[bytes], Reply | None]


class Faulty:
    """Forwards to `upstream`; while `spoil` is set, it makes a reply of the real body (None: break off)."""

    def __init__(self, upstream: str) -> None:
        self.spoil: Spoil | None = None
        self.refuse_posts = False
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.command, body.decode(), dict(self.headers)))
                real = HTTP.request(
                    self.command,
                    upstream + self.path,
                    content=body,
                    headers={"Content-Type": self.headers.get("Content-Type", "")},
                    timeout=PATIENCE_S,
                )
                if outer.refuse_posts and self.command == "POST":
                    self.send_error(405)
                    return
                reply = outer.spoil(real.content) if outer.spoil else Reply(real.status_code, real.content)
                if reply is None:
                    self.close_connection = True
                    return
                outer._released.wait(reply.hold_s)
                try:
                    self.send_response(reply.status)
                    self.send_header("Content-Type", reply.kind)
                    self.send_header("Content-Encoding", reply.encoding)
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True  # the other side gave up, as it should

            do_GET = do_POST  # noqa: N815 - the name is the verb

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
