"""OTLP's protobuf form ↔ its JSON form, by the protocol's own definitions (`opentelemetry-proto`).

Imported at the first protobuf body only: the definitions cost 50 ms, and many set-ups send JSON.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from claude_gauge.system.http.messages import RefusedError

_VARINT, _BYTES = 0, 2
_MORE = 0x80  # a byte of a number from here on is not its last one
_FIXED = {1: 8, 5: 4}


def metrics_from_protobuf(body: bytes, most: int) -> dict[str, Any]:
    """Turn a metrics export into the JSON form; raises ValueError for bytes that are none, or over `most` elements."""
    return _as_json(ExportMetricsServiceRequest(), body, most)


def logs_from_protobuf(body: bytes, most: int) -> dict[str, Any]:
    """Turn a logs export into the JSON form; raises ValueError for bytes that are none, or over `most` elements."""
    return _as_json(ExportLogsServiceRequest(), body, most)


def metrics_answer(rejected: int, why: str) -> bytes:
    """Write the answer to a metrics export; empty where nothing was rejected."""
    partial = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=why)
    return ExportMetricsServiceResponse(partial_success=partial).SerializeToString() if rejected else b""


def logs_answer(rejected: int, why: str) -> bytes:
    """Write the answer to a logs export; empty where nothing was rejected."""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=why)
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString() if rejected else b""


def _as_json(message: ExportMetricsServiceRequest | ExportLogsServiceRequest, body: bytes, most: int) -> dict[str, Any]:
    if len(body) > 2 * most and _elements(body, message.DESCRIPTOR, most) > most:  # each takes two bytes at least
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {most} elements")
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(f"not OTLP protobuf: {error}") from None
    return _plain(message)


def _plain(message: Message) -> dict[str, Any]:
    """Write a message as its JSON form; `MessageToDict` takes five times as long, and others wait meanwhile."""
    plain: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            plain[field.json_name] = value
        elif isinstance(value, Message):
            plain[field.json_name] = _plain(value)
        elif field.name == "attributes":  # most of an export, and all alike
            plain["attributes"] = [{"key": each.key, "value": _plain(each.value)} for each in value]
        else:
            plain[field.json_name] = [_plain(each) for each in value]
    return plain


def _elements(body: bytes, kind: Descriptor, most: int) -> int:
    """Count the fields of a message and of all messages in it, without building any; stops beyond `most`."""
    count, left = 0, [(0, len(body), kind)]
    while left and count <= most:
        at, end, message = left.pop()
        inner = _inner(message)
        while at < end and count <= most:
            count += 1
            tag, at = (body[at], at + 1) if body[at] < _MORE else _varint(body, at)
            if tag & 7 == _BYTES and at < end:
                length, at = (body[at], at + 1) if body[at] < _MORE else _varint(body, at)
                if length and tag >> 3 in inner:
                    left.append((at, min(end, at + length), inner[tag >> 3]))
                at += length
            elif tag & 7 == _VARINT:
                _, at = _varint(body, at)
            elif tag & 7 in _FIXED:
                at += _FIXED[tag & 7]
            else:
                raise ValueError("not OTLP protobuf: a field of no kind")
    return count


@cache
def _inner(kind: Descriptor) -> dict[int, Descriptor]:
    return {each.number: each.message_type for each in kind.fields if each.message_type is not None}


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(at, min(at + 10, len(body))):
        byte = body[index]
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, index + 1
        shift += 7
    raise ValueError("not OTLP protobuf: a number is cut")
