"""OTLP over HTTP: POST /v1/metrics and /v1/logs; decodes an export and builds the exporter's answer.

Bodies are bounded before anything is built of them: in bytes, and in elements, since many tiny ones take 25 times their
bytes. They are decoded on the server's worker threads, one at a time, and two at a time of those over SHORT: the
exports that Claude Code sends every few seconds take some milliseconds, the largest body that is taken 0.2 s, and a
full batch behind it no longer than its own time twice.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from claude_gauge.contract.plan_window import Refused
from claude_gauge.sources.otlp.decode import Decoded, decode_logs, decode_metrics
from claude_gauge.system.http.messages import Answer, Headers, HttpRequest, RefusedError, Route, Site
from claude_gauge.system.net import is_loopback

log = logging.getLogger(__name__)
Signal = Literal["metrics", "logs"]

PATHS: dict[str, Signal] = {"/v1/metrics": "metrics", "/v1/logs": "logs"}
JSON, PROTOBUF = "application/json", "application/x-protobuf"
MAX_BODY = 4 * 2**20
MAX_INFLATED = 4 * 2**20
SHORT = 64 * 2**10  # inflated; some fifty events, or as many tiny elements as are decoded in 20 ms
MOST_MEMBERS = 16  # of a gzip body; each takes a window of its own
MOST_ELEMENTS = 100_000  # a batch of 512 events has about 60,000
# A name that rebinding cannot take over: loopback's own, and what containers call their host.
LOCAL_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal", "gateway.docker.internal"})
GRPC = "something speaks gRPC here; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
GZIP_WINDOW = 16 + zlib.MAX_WBITS
REJECTED: dict[Signal, str] = {"metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was understood, perhaps in part."""

    signal: Signal
    decoded: Decoded
    protobuf: bool

    @property
    def content_type(self) -> str:
        """The answer is written as the question was."""
        return PROTOBUF if self.protobuf else JSON

    def answer(self) -> bytes:
        """Write what the exporter waits for: `partialSuccess` where records were rejected."""
        if self.protobuf:
            from claude_gauge.sources.otlp import protobuf  # noqa: PLC0415 - see its docstring

            write = protobuf.metrics_answer if self.signal == "metrics" else protobuf.logs_answer
            return write(self.decoded.rejected, self.decoded.why)
        if not self.decoded.rejected:
            return b"{}"
        partial = {REJECTED[self.signal]: str(self.decoded.rejected), "errorMessage": self.decoded.why}
        return json.dumps({"partialSuccess": partial}).encode()


def site(
    accept: Callable[[Export], bool],
    host: str,
    token: str | None,
    clock: Callable[[], float],
    refused: Refused | None = None,
) -> Site:
    """Build what is served at the OTLP address; `accept` returns whether an export was stored.

    What could not be counted is added to `refused`: records, and exports that could not be read at all.
    """
    refused = Refused() if refused is None else refused
    counting = threading.Lock()  # of `refused`, for the two worker threads

    def tell(why: str, count: int = 1) -> None:
        with counting:
            refused.add(why, count)
            if news := refused.news():
                log.warning("OTLP: not counted so far: %s", news)

    def take(request: HttpRequest) -> Answer:
        content_type = request.headers.get("content-type", "")
        try:
            export = understand(request.path, content_type, _encoding(request), request.body, clock())
        except RefusedError:
            tell("exports that could not be read")
            raise
        tell(export.decoded.why, export.decoded.rejected)
        if not accept(export):
            why = "counted, but not stored: the disk can't be written"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, why, ("Retry-After", "5"))
        return Answer(HTTPStatus.OK, _headers(export), export.answer())

    return Site(
        {path: Route(take, methods=("POST",), body_limit=MAX_BODY, apart=True, long=is_long) for path in PATHS},
        hosts=_any_host if not is_loopback(host) else _local,
        foreign_host=HTTPStatus.FORBIDDEN,
        foreign_advice="Host should be a name of this machine's loopback",
        token=token,
        error_name="message",  # as in google.rpc.Status
        refused=_refused,
    )


def _headers(export: Export) -> Headers:
    return (("Content-Type", export.content_type), ("Content-Length", str(len(export.answer()))))


def _encoding(request: HttpRequest) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def is_long(request: HttpRequest) -> bool:
    """Return whether an export may keep others waiting; of a gzip body no more than SHORT is inflated for that."""
    if len(request.body) > SHORT or _encoding(request) != "gzip":
        return len(request.body) > SHORT
    try:
        inflate(request.body, SHORT)
    except RefusedError as refused:
        return refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return False


def _any_host(_host: str | None) -> bool:
    return True


def _local(host: str | None) -> bool:
    return host in LOCAL_NAMES or is_loopback(host or "")


def _refused(refused: RefusedError) -> None:
    if refused.status == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED:
        log.warning("OTLP: %s", GRPC)
    log.debug("OTLP: refused: %s", refused)


def understand(path: str, content_type: str, encoding: str, body: bytes, now: float = math.inf) -> Export:
    """Decode one export; raises RefusedError for one that is nothing at all. `now` bounds its times."""
    signal = PATHS[path]
    if _media(content_type) not in (JSON, PROTOBUF):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type should be {JSON} or {PROTOBUF}")
    if encoding not in ("", "identity", "gzip"):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding should be gzip or none")
    protobuf = _media(content_type) == PROTOBUF
    plain = inflate(body) if encoding == "gzip" else body
    try:
        form = _protobuf_reader(signal)(plain, MOST_ELEMENTS) if protobuf else _json(plain)
        decoded = decode_metrics(form, now) if signal == "metrics" else decode_logs(form, now)
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"not an OTLP {signal} export: {type(error).__name__}") from None
    if not isinstance(form, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"not an OTLP {signal} export: no object")
    return Export(signal, decoded, protobuf)


def _json(plain: bytes) -> object:
    """Build what JSON says, unless it is too many things: each stands before or after one of these signs."""
    if sum(map(plain.count, (b"{", b"[", b","))) > MOST_ELEMENTS:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_ELEMENTS} elements")
    return json.loads(plain)


def inflate(body: bytes, most: int = MAX_INFLATED) -> bytes:
    """Unpack gzip, of several members too, stopping beyond `most` bytes: a small bomb must not fill the memory."""
    plain = b""
    for _ in range(MOST_MEMBERS):
        unpacker = zlib.decompressobj(GZIP_WINDOW)
        try:
            plain += unpacker.decompress(body, most + 1 - len(plain))
        except zlib.error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "body is no gzip") from None
        if len(plain) > most:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body inflates beyond {most} bytes")
        if not unpacker.eof:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "gzip body is cut short")
        body = unpacker.unused_data.lstrip(b"\0")
        if not body:
            return plain
    raise RefusedError(HTTPStatus.BAD_REQUEST, f"more than {MOST_MEMBERS} gzip members")


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _protobuf_reader(signal: Signal) -> Callable[[bytes, int], object]:
    from claude_gauge.sources.otlp import protobuf  # noqa: PLC0415 - see its docstring

    return protobuf.metrics_from_protobuf if signal == "metrics" else protobuf.logs_from_protobuf
