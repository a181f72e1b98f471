"""Genuine OTLP exports of Claude Code, and plain ones that tests make up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent / "samples"
SESSION = "aaaaaaaa-0000-4000-8000-000000000042"


def samples(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (path, body) of each captured export, in the order in which Claude Code sent them."""
    captured = [json.loads(path.read_text()) for path in sorted((SAMPLES / name).iterdir())]
    assert captured, name
    return [(each["path"], each["body"]) for each in captured]


def attributes(**values: object) -> list[dict[str, Any]]:
    """Write attributes as OTLP does."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in values.items()]


def point(kind: str, value: object, at: float, *, start: float | None = None, **more: object) -> dict[str, Any]:
    """One data point of the token counter; a session of None is left out."""
    session = {"session.id": more.pop("session", SESSION)}
    named = {"type": kind, "model": "claude-opus-5-5", **{k: v for k, v in session.items() if v}, **more}
    nanoseconds = {
        "startTimeUnixNano": str(round((at - 1 if start is None else start) * 1e9)),
        "timeUnixNano": str(round(at * 1e9)),
    }
    return {"attributes": attributes(**named), **nanoseconds, "asDouble": value}


def metrics(*points: dict[str, Any], temporality: object = 1, host: str = "desk") -> dict[str, Any]:
    """An export of the token counter: delta (1) or cumulative (2)."""
    total = {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)}
    metric = {"name": "claude_code.token.usage", "unit": "tokens", "sum": total}
    resource = {"attributes": attributes(**{"service.name": "claude-code", "host.name": host})}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": {}, "metrics": [metric]}]}]}


def event(
    at: float, request_id: str, *, name: str = "api_request", host: str = "desk", sequence: int = 0, **more: object
) -> dict[str, Any]:
    """An export of one log event; tokens by default 1 + 20 + 300 + 4000 of the four kinds."""
    counts = {"input_tokens": 1, "output_tokens": 20, "cache_read_tokens": 300, "cache_creation_tokens": 4000}
    named = {
        "session.id": SESSION,
        "event.name": name,
        "model": "claude-opus-5-5",
        "request_id": request_id,
        "event.sequence": sequence,
        **(counts if name == "api_request" else {}),
        **more,
    }
    body = {"stringValue": f"claude_code.{name}"}
    record = {"timeUnixNano": str(round(at * 1e9)), "body": body, "attributes": attributes(**named)}
    resource = {"attributes": attributes(**{"service.name": "claude-code", "host.name": host})}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]}
