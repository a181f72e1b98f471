"""OTLP's protobuf form ↔ its JSON form, by the protocol's own definitions (`opentelemetry-proto`).

Imported at the first protobuf body only: the definitions cost 50 ms, and many set-ups send JSON.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
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


def metrics_from_protobuf(body: bytes) -> dict[str, Any]:
    """Turn a metrics export into the JSON form; raises ValueError for bytes that are none."""
    return _as_json(ExportMetricsServiceRequest(), body)


def logs_from_protobuf(body: bytes) -> dict[str, Any]:
    """Turn a logs export into the JSON form; raises ValueError for bytes that are none."""
    return _as_json(ExportLogsServiceRequest(), body)


def metrics_answer(rejected: int, why: str) -> bytes:
    """Write the answer to a metrics export; empty where nothing was rejected."""
    partial = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=why)
    return ExportMetricsServiceResponse(partial_success=partial).SerializeToString() if rejected else b""


def logs_answer(rejected: int, why: str) -> bytes:
    """Write the answer to a logs export; empty where nothing was rejected."""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=why)
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString() if rejected else b""


def _as_json(message: ExportMetricsServiceRequest | ExportLogsServiceRequest, body: bytes) -> dict[str, Any]:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(f"not OTLP protobuf: {error}") from None
    written: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    return written
