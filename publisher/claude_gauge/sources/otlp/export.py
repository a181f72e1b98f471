"""One OTLP/HTTP export: its headers and bytes → what it told, and the answer that the exporter waits for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from claude_gauge.sources.otlp.decode import Decoded, decode_logs, decode_metrics

Signal = Literal["metrics", "logs"]

PATHS: dict[str, Signal] = {"/v1/metrics": "metrics", "/v1/logs": "logs"}
JSON, PROTOBUF = "application/json", "application/x-protobuf"
MAX_BODY = 16 * 2**20
MAX_INFLATED = 64 * 2**20
GZIP_WINDOW = 16 + zlib.MAX_WBITS
REJECTED: dict[Signal, str] = {"metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}


class RefusedError(Exception):
    """An export that gets another answer than 200; the text tells its sender why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was understood, perhaps in part."""

    signal: Signal
    told: Decoded
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
            return write(self.told.rejected, self.told.why)
        if not self.told.rejected:
            return b"{}"
        partial = {REJECTED[self.signal]: str(self.told.rejected), "errorMessage": self.told.why}
        return json.dumps({"partialSuccess": partial}).encode()


def check_headers(path: str, content_type: str, encoding: str) -> None:
    """Refuse what can be refused before a byte of the body is read."""
    if path not in PATHS:
        raise RefusedError(HTTPStatus.NOT_FOUND, f"no such path: exports go to {' and '.join(PATHS)}")
    if _media(content_type) not in (JSON, PROTOBUF):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type should be {JSON} or {PROTOBUF}")
    if encoding.lower() not in ("", "identity", "gzip"):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding should be gzip or none")


def understand(path: str, content_type: str, encoding: str, body: bytes) -> Export:
    """Decode one export; raises RefusedError for one that is nothing at all."""
    signal = PATHS[path]
    protobuf = _media(content_type) == PROTOBUF
    plain = inflate(body) if encoding.lower() == "gzip" else body
    try:
        form = _protobuf_reader(signal)(plain) if protobuf else json.loads(plain)
        told = decode_metrics(form) if signal == "metrics" else decode_logs(form)
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"not an OTLP {signal} export: {type(error).__name__}") from None
    if not isinstance(form, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"not an OTLP {signal} export: no object")
    return Export(signal, told, protobuf)


def inflate(body: bytes) -> bytes:
    """Unpack gzip, stopping at the limit: a small bomb must not fill the memory."""
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    try:
        plain = unpacker.decompress(body, MAX_INFLATED)
    except zlib.error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "body is no gzip") from None
    if unpacker.unconsumed_tail:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body inflates beyond {MAX_INFLATED} bytes")
    if not unpacker.eof:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "gzip body is cut short")
    return plain


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _protobuf_reader(signal: Signal) -> Callable[[bytes], object]:
    from claude_gauge.sources.otlp import protobuf  # noqa: PLC0415 - see its docstring

    return protobuf.metrics_from_protobuf if signal == "metrics" else protobuf.logs_from_protobuf
