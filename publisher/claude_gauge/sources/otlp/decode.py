"""OTLP's JSON form → what Claude Code said in it: token points of metrics, and `api_request` events.

The protobuf form is turned into the same shape first (protobuf.py), so there is one decoder.
Records that break the protocol, lie in the future of `now` (epoch seconds) or have impossible counts are counted as
rejected; nothing is raised.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Literal, NamedTuple

from claude_gauge.contract.plan_window import MOST_TOKENS, happened, tokens
from claude_gauge.counting.reading import Tokens

Kind = Literal["input", "output", "cache_read", "cache_creation"]
Json = dict[str, Any]

TOKENS = "claude_code.token.usage"
REQUEST = "claude_code.api_request"
KINDS: dict[str, Kind] = {
    "input": "input",
    "output": "output",
    "cacheRead": "cache_read",
    "cacheCreation": "cache_creation",
}
TEMPORALITIES = {
    "1": "delta",
    "2": "cumulative",
    "AGGREGATION_TEMPORALITY_DELTA": "delta",
    "AGGREGATION_TEMPORALITY_CUMULATIVE": "cumulative",
}
AHEAD = "its time lies in the future: check the sender's clock"
PERSON = ("user.id", "user.account_uuid", "organization.id")
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One data point of the token counter; `unit` is the session, or the origin where sessions are left out."""

    unit: str
    series: str
    kind: Kind
    model: str
    start: float
    at: float
    value: float
    cumulative: bool


class Request(NamedTuple):
    """One `api_request` event; `units` are the session and the origin whose metrics count it too.

    `key` names the event, 60 bits of a digest. A tuple, since a week holds hundreds of thousands of them.
    """

    key: int
    request_id: str
    units: tuple[str, ...]
    at: float
    model: str
    tokens: Tokens


@dataclass(slots=True)
class Decoded:
    """The content of one export; `units` are those that send logs at all."""

    points: list[Point] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    units: set[str] = field(default_factory=set)
    rejected: int = 0
    why: str = ""

    def reject(self, why: str) -> None:
        """Count one record that could not be understood."""
        self.rejected += 1
        self.why = self.why or why


def decode_metrics(body: object, now: float = math.inf) -> Decoded:
    """Take the token points out of an ExportMetricsServiceRequest."""
    decoded = Decoded()
    for resource, scope in _scopes(body, "resourceMetrics", "scopeMetrics"):
        for metric in _objects(scope.get("metrics")):
            if metric.get("name") == TOKENS:
                _points(metric, resource, decoded, now)
    return decoded


def decode_logs(body: object, now: float = math.inf) -> Decoded:
    """Take the `api_request` events out of an ExportLogsServiceRequest."""
    decoded = Decoded()
    for resource, scope in _scopes(body, "resourceLogs", "scopeLogs"):
        for record in _objects(scope.get("logRecords")):
            if "attributes" not in record:
                continue  # what says nothing costs nothing, however many there are
            attributes = _attributes(record)
            units = resource.units(attributes)
            decoded.units.update(units)
            if _event_name(record, attributes) == REQUEST:
                _request(record, attributes, units, decoded, now)
    return decoded


def _points(metric: Json, resource: _Resource, decoded: Decoded, now: float) -> None:
    total = _object(metric.get("sum"))
    temporality = TEMPORALITIES.get(str(total.get("aggregationTemporality")))
    for point in _objects(total.get("dataPoints")):
        attributes = _attributes(point)
        kind = KINDS.get(str(attributes.get("type")))
        value = _count(point.get("asDouble", point.get("asInt")))
        at = _seconds(point.get("timeUnixNano"))
        if temporality is None or kind is None or value is None or at is None:
            decoded.reject(f"{TOKENS}: no temporality, type, time or countable value")
            continue
        if not happened(at, now):
            decoded.reject(f"{TOKENS}: {AHEAD}")
            continue
        decoded.points.append(
            Point(
                unit=resource.units(attributes)[0],
                series=resource.digest(attributes),
                kind=kind,
                model=_text(attributes.get("model")),
                start=min(at, _seconds(point.get("startTimeUnixNano")) or 0.0),
                at=at,
                value=value,
                cumulative=temporality == "cumulative",
            )
        )


def _request(record: Json, attributes: Json, units: tuple[str, ...], decoded: Decoded, now: float) -> None:
    at = _seconds(record.get("timeUnixNano")) or _seconds(record.get("observedTimeUnixNano"))
    own, output, read, created = [_count(attributes.get(name, 0)) for name in COUNTS]
    if at is None or own is None or output is None or read is None or created is None:
        decoded.reject(f"{REQUEST}: no time, or token counts that are no counts")
        return
    if not happened(at, now):
        decoded.reject(f"{REQUEST}: {AHEAD}")
        return
    request_id = _text(attributes.get("request_id"))
    # A gateway may make request ids constant: the session's own numbering distinguishes its events.
    number = quoted(str(attributes.get("event.sequence")))
    named = f'[[["at", "{at}"], ["id", {quoted(request_id)}], ["number", {number}], ["unit", {quoted(units[0])}]]]'
    key = event_key(hashlib.blake2s(named.encode(), digest_size=8).hexdigest())
    model = _text(attributes.get("model"))
    decoded.requests.append(Request(key, request_id, units, at, model, Tokens(own, output, read, created)))


def event_key(digest: str) -> int:
    """Make an event's key of its digest in hex; raises ValueError where it is none.

    60 bits: Python keeps an integer of more in 48 bytes instead of 32, and a week holds hundreds of thousands.
    """
    return int(digest[:15], 16)


class _Resource:
    """What all records below one resource share."""

    def __init__(self, attributes: Json) -> None:
        self._attributes = attributes
        self._origins: dict[tuple[str, ...], str] = {}

    @cached_property
    def _digest(self) -> hashlib.blake2s:
        """The beginning of each digest: a resource may say as much as all of its records."""
        return hashlib.blake2s(f"[{_pairs(self._attributes)}, ".encode(), digest_size=8)

    def digest(self, named: Json) -> str:
        """Name something of this resource by what it says."""
        digest = self._digest.copy()
        digest.update(f"{_pairs(named)}]".encode())
        return digest.hexdigest()

    def units(self, attributes: Json) -> tuple[str, ...]:
        """Name the session (where there is one) and the origin: Claude Code of one person on one kind of host."""
        person = tuple([str(attributes.get(name)) for name in PERSON])
        origin = self._origins.get(person)
        if origin is None:
            origin = self._origins[person] = "~" + self.digest(dict(zip(PERSON, person, strict=True)))
        session = _text(attributes.get("session.id"))
        return (session, origin) if session else (origin,)


def _event_name(record: Json, attributes: Json) -> str:
    name = attributes.get("event.name") or record.get("eventName") or _object(record.get("body")).get("stringValue")
    if name == "api_request":
        return REQUEST
    text = _text(name)
    return text if text.startswith("claude_code.") else f"claude_code.{text}"


def _scopes(body: object, resources: str, scopes: str) -> Iterator[tuple[_Resource, Json]]:
    for resource in _objects(_object(body).get(resources)):
        shared = _Resource(_attributes(_object(resource.get("resource"))))
        for scope in _objects(resource.get(scopes)):
            yield shared, scope


def _attributes(holder: Json) -> Json:
    """Make a plain mapping of OTLP's list of {key, value: {stringValue | intValue | ...}}."""
    attributes: Json = {}
    for pair in _objects(holder.get("attributes")):
        value = pair.get("value")
        attributes[_text(pair.get("key"))] = next(iter(value.values()), None) if isinstance(value, dict) else None
    return attributes


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # A lone surrogate passes json.loads and would fail at the first write.
    short = value[:_LONGEST_TEXT]
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


def _count(value: object) -> float | None:
    if type(value) is int and 0 <= value <= MOST_TOKENS:  # nearly all
        return float(value)
    number = _number(value)
    return number if number is not None and tokens(number) else None


def _seconds(nanoseconds: object) -> float | None:
    number = _number(nanoseconds)
    return number / 1e9 if number is not None and 0 < number < 2**63 else None


def _number(value: object) -> float | None:
    """Read a number; the JSON form writes 64-bit integers as strings."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _pairs(value: Json) -> str:
    """Write attributes in order; as text, since the two forms write integers differently."""
    return json.dumps(sorted((key, str(each)) for key, each in value.items()))
