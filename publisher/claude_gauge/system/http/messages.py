"""Requests as sites see them, the answers that they give, and a site: its hosts, token and routes."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

log = logging.getLogger(__name__)

SERVER = "claude-gauge"  # the Server header, by which doctor knows its own
JSON, EVENT_STREAM = "application/json", "text/event-stream"
SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(:\d*)?")
_MOST_QUERY_FIELDS = 8
READ = ("GET", "HEAD")
Headers = tuple[tuple[str, str], ...]


class RefusedError(Exception):
    """A request that is not answered but refused; the text says why."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[str, str]) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; `host` is without its port, lower case, None where none was given; names of headers are lower case.

    `body` is empty until the whole of it was read.
    """

    method: str
    path: str
    query: str
    host: str | None
    headers: Mapping[str, str]
    body: bytes = b""

    def option(self, name: str) -> str:
        """Return a field of the query, "" where it is missing."""
        try:
            return dict(parse_qsl(self.query, max_num_fields=_MOST_QUERY_FIELDS)).get(name, "")
        except ValueError:
            return ""


class Stream(Protocol):
    """A connection that was answered with a feed."""

    def send(self, event: bytes, about: str = "") -> None:
        """Send an event; while the client does not read, only the newest about one thing waits."""


class Feed(Protocol):
    """A stream: its listeners get a first payload, then each new one."""

    def joined(self, stream: Stream) -> bytes:
        """Add a listener, and return what it gets first."""

    def left(self, stream: Stream) -> None:
        """Forget a listener that is gone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body; where there is a `feed`, the body goes on until one side ends it."""

    status: HTTPStatus
    headers: Headers = ()
    body: bytes = b""
    etag: str = ""
    feed: Feed | None = field(default=None, compare=False)


def answer(status: HTTPStatus, body: bytes, kind: str, *headers: tuple[str, str]) -> Answer:
    """Make an answer that may be kept by a reader, but is asked for again each time (ETag)."""
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"' if status == HTTPStatus.OK else ""
    own = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-cache")]
    return Answer(status, (*own, *([("ETag", etag)] if etag else []), *SAFE, *headers), body, etag)


def as_json(data: object, status: HTTPStatus = HTTPStatus.OK, *headers: tuple[str, str]) -> Answer:
    """Make an answer of plain data."""
    return answer(status, json.dumps(data, separators=(",", ":")).encode(), JSON, *headers)


def events(feed: Feed) -> Answer:
    """Make the answer that begins a stream; proxies are asked not to hold it back."""
    lines = [("Content-Type", EVENT_STREAM), ("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"), *SAFE]
    return Answer(HTTPStatus.OK, tuple(lines), feed=feed)


def unless_known(reply: Answer, request: HttpRequest) -> Answer:
    """Answer 304 to a reader that has these very bytes."""
    given = request.headers.get("if-none-match", "")
    if not (given and reply.etag):
        return reply
    etags = {each.strip().removeprefix("W/") for each in given.split(",")}
    if "*" not in etags and reply.etag not in etags:
        return reply
    return Answer(HTTPStatus.NOT_MODIFIED, (("Cache-Control", "no-cache"), ("ETag", reply.etag)), b"", reply.etag)


def split_target(target: str) -> tuple[str, str, str]:
    """Split a target into path, query and, for the absolute form that proxies use, its authority."""
    try:
        parts = urlsplit(target if "://" in target.partition("?")[0] else "//-" + target)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the target is malformed") from None
    return parts.path or "/", parts.query, parts.netloc if parts.scheme else ""


def host_name(host: str) -> str | None:
    """Take the port off a Host header; what is malformed stays as it is, and so is foreign."""
    match = _HOST.fullmatch(host)
    return (match[1].strip("[]").rstrip(".").lower() if match else host) or None


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `body_limit` is in bytes, 0 takes none.

    `apart`: answered on a worker thread, one by one; those that are `long` on two others, so that a single one keeps
    nobody waiting.
    """

    answer: Callable[[HttpRequest], Answer]
    methods: tuple[str, ...] = READ
    body_limit: int = 0
    apart: bool = False
    long: Callable[[HttpRequest], bool] = lambda _: False


@dataclass(frozen=True)
class Site:
    """Routes by their paths; `hosts` decides which Host is ours, `token` is the bearer token that has to be sent.

    A refusal is JSON with the reason under `error_name`.
    """

    routes: Mapping[str, Route]
    hosts: Callable[[str | None], bool]
    foreign_host: HTTPStatus = HTTPStatus.MISDIRECTED_REQUEST
    foreign_advice: str = "this server does not answer to that Host"
    token: str | None = None
    error_name: str = "error"
    refused: Callable[[RefusedError], None] = lambda _: None

    def find(self, request: HttpRequest) -> Route:
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

    def respond(self, route: Route, request: HttpRequest) -> Answer:
        """Answer a request; a fault of ours is logged, and answered with 500."""
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
