"""What is served at one address: routes, who may ask for them, and how a refusal is written."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from claude_gauge.system.http.messages import Answer, RefusedError, Request, as_json

log = logging.getLogger(__name__)
READ = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `body_limit` is in bytes, 0 takes none; `apart`: answered on the server's worker thread, one by one."""

    answer: Callable[[Request], Answer]
    methods: tuple[str, ...] = READ
    body_limit: int = 0
    apart: bool = False


@dataclass(frozen=True)
class Site:
    """Routes by their paths; `hosts` tells which Host is ours, `token` is the bearer token that has to be sent.

    A refusal is JSON with the reason under `error_name`.
    """

    routes: Mapping[str, Route]
    hosts: Callable[[str | None], bool]
    foreign_host: HTTPStatus = HTTPStatus.MISDIRECTED_REQUEST
    foreign_advice: str = "this server does not answer to that Host"
    token: str | None = None
    error_name: str = "error"
    refused: Callable[[RefusedError], None] = lambda _: None

    def find(self, request: Request) -> Route:
        """Return a request's route before its body is read; raises RefusedError."""
        if not self.hosts(request.host):
            raise RefusedError(self.foreign_host, self.foreign_advice)
        if self.token is not None:
            given = request.headers.get("authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or another one")
        route = self.routes.get(request.path)
        if route is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing here; there is {', '.join(sorted(self.routes))}")
        if request.method not in route.methods:
            why = f"only {' and '.join(route.methods)}"
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, why, ("Allow", ", ".join(route.methods)))
        return route

    def respond(self, route: Route, request: Request) -> Answer:
        """Answer a request; a fault of ours is told in the log, and as 500."""
        try:
            return route.answer(request)
        except RefusedError as refused:
            return self.refusal(refused)
        except Exception:
            log.exception("http: %s %s could not be answered", request.method, request.path)
            return self.refusal(RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server; see its log"))

    def refusal(self, refused: RefusedError) -> Answer:
        """Write a refusal."""
        self.refused(refused)
        return as_json({self.error_name: str(refused)}, refused.status, *refused.headers)
