"""One HTTP/1.x request's head, read strictly: what is doubtful is refused, never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

HEAD_LIMIT = 8192
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
HEADER = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class BadRequestError(Exception):
    """A request that is not answered but refused; the connection ends with it."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """What the answer depends on; `host` is without its port, lower case, None where HTTP/1.0 gave none."""

    method: str
    path: str
    query: str
    host: str | None
    keep_alive: bool
    has_body: bool
    if_none_match: str


@lru_cache(maxsize=128)
def parse(head: bytes) -> Request:
    """Read a head (without the empty line that ends it); pollers send the same one again and again."""
    first, *lines = head.split(b"\r\n")
    found = LINE.fullmatch(first)
    if not found:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "that is no HTTP request")
    method, target, major, minor = (each.decode() for each in found.groups())
    if major != "1":
        raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    headers = _headers(lines)
    newer = minor != "0"
    if newer and len(headers.get("host", [])) != 1:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "a request has one Host header")
    path, query, authority = _target(target)
    options = {each.strip().lower() for value in headers.get("connection", []) for each in value.split(",")}
    return Request(
        method=method,
        path=path,
        query=query,
        host=_name(authority or headers.get("host", [""])[0]),
        keep_alive=newer and "close" not in options,
        has_body="transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"],
        if_none_match=",".join(headers.get("if-none-match", [])),
    )


def _headers(lines: list[bytes]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for line in lines:
        found = HEADER.fullmatch(line)
        if not found:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, "a header line is malformed")
        headers.setdefault(found[1].decode().lower(), []).append(found[2].rstrip(b" \t").decode("latin-1"))
    return headers


def _target(target: str) -> tuple[str, str, str]:
    """Split a target into path, query and, for the absolute form that proxies use, its authority."""
    try:
        parts = urlsplit(target if "://" in target.partition("?")[0] else "//-" + target)
    except ValueError:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "the target is malformed") from None
    return parts.path or "/", parts.query, parts.netloc if parts.scheme else ""


def _name(host: str) -> str | None:
    """Take the port off a Host header; what is malformed stays as it is, and so is foreign."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(:\d*)?", host)
    return (found[1].strip("[]").rstrip(".").lower() if found else host) or None
