"""Answers as bytes; all but the date is put together once and used for every request."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
JSON, STREAM = "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the head's lines as bytes, and a body; a `stream` goes on after it."""

    status: HTTPStatus
    head: bytes
    body: bytes
    etag: str = ""
    stream: bool = False

    def to_bytes(self, date: bytes, *, keep_alive: bool, head_only: bool = False) -> bytes:
        """Return the bytes to send."""
        end = b"\r\n" if keep_alive else b"Connection: close\r\n\r\n"
        return b"".join((self.head, date, end, b"" if head_only else self.body))


def answer(status: HTTPStatus, body: bytes, kind: str, *headers: tuple[str, str]) -> Answer:
    """Make an answer that may be kept by a reader, but is asked for again each time (ETag)."""
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"' if status == HTTPStatus.OK else ""
    own = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-cache")]
    lines = [*own, *([("ETag", etag)] if etag else []), *SAFE, *headers]
    return Answer(status, _head(status, lines), body, etag)


def unchanged(known: Answer) -> Answer:
    """Make the answer to a reader that has these very bytes."""
    lines = [("Cache-Control", "no-cache"), ("ETag", known.etag)]
    return Answer(HTTPStatus.NOT_MODIFIED, _head(HTTPStatus.NOT_MODIFIED, lines), b"", known.etag)


def error(status: HTTPStatus, why: str, *headers: tuple[str, str]) -> Answer:
    """Make an error as JSON, in one sentence."""
    return answer(status, json.dumps({"error": why}).encode() + b"\n", JSON, *headers)


def as_json(data: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Make an answer of plain data."""
    return answer(status, json.dumps(data, separators=(",", ":")).encode(), JSON)


def events() -> Answer:
    """Make the head of an endless stream; proxies are asked not to hold it back."""
    lines = [("Content-Type", STREAM), ("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"), *SAFE]
    return Answer(HTTPStatus.OK, _head(HTTPStatus.OK, lines), b"", stream=True)


def _head(status: HTTPStatus, lines: list[tuple[str, str]]) -> bytes:
    return "".join([f"HTTP/1.1 {status.value} {status.phrase}\r\n", *(f"{n}: {v}\r\n" for n, v in lines)]).encode()


class Dates:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """Return the header's line for now."""
        second = int(time.time())
        if second != self._second:
            self._second, self._line = second, f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line
