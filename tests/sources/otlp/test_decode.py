from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.sources.otlp.exports import SESSION, event, metrics, point, samples

from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import decode_logs, decode_metrics, event_key
from claude_gauge.sources.otlp.export import understand
from claude_gauge.system.http.messages import RefusedError

JSON, PROTOBUF = "application/json", "application/x-protobuf"


def _sum(name: str) -> tuple[dict[str, float], Tokens]:
    kinds: dict[str, float] = {}
    requests = Tokens()
    for path, body in samples(name):
        for each in decode_metrics(body).points if path == "/v1/metrics" else []:
            kinds[each.kind] = kinds.get(each.kind, 0) + each.value
        for request in decode_logs(body).requests if path == "/v1/logs" else []:
            requests += request.tokens
    return kinds, requests


@pytest.mark.parametrize(
    ("name", "true"),
    [
        ("json_delta", {"input": 14, "output": 297, "cache_read": 24350, "cache_creation": 530}),
        ("json_agent", {"input": 18, "output": 276, "cache_read": 36200, "cache_creation": 257}),
    ],
)
def test_genuine_deltas_and_events_agree(name: str, true: dict[str, float]) -> None:
    """Claude Code's own delta points and its events, decoded apart, add up to the same tokens."""
    points, requests = _sum(name)

    assert points == true
    assert requests == Tokens(true["input"], true["output"], true["cache_read"], true["cache_creation"])


def test_genuine_cumulative_points() -> None:
    """Cumulative points keep their series' start and end at the events' sum."""
    last = decode_metrics(samples("json_cumulative")[-1][1]).points

    assert all(each.cumulative and round(each.start, 3) == 1795429496.790 for each in last)
    assert {each.kind: each.value for each in last} == {
        "input": 14,
        "output": 297,
        "cache_read": 24350,
        "cache_creation": 530,
    }


def test_genuine_errors_count_nothing() -> None:
    """An `api_error` is no request, and rejects nothing."""
    for path, body in samples("json_error"):
        reported = decode_logs(body) if path == "/v1/logs" else decode_metrics(body)

        assert (reported.points, reported.requests, reported.rejected) == ([], [], 0)


@pytest.mark.parametrize("name", ["json_delta", "json_cumulative", "json_agent", "json_error"])
def test_protobuf_says_the_same(name: str) -> None:
    """Every genuine export, written as protobuf, decodes to what its JSON does."""
    for path, body in samples(name):
        message = ExportMetricsServiceRequest() if path == "/v1/metrics" else ExportLogsServiceRequest()
        ParseDict(body, message)

        plain = understand(path, JSON, "", json.dumps(body).encode()).decoded
        binary = understand(path, PROTOBUF, "", message.SerializeToString()).decoded

        assert binary == plain


def test_integers_as_strings() -> None:
    """The JSON form may write 64-bit integers as strings, also as `asInt`."""
    written = point("input", 0, 100)
    del written["asDouble"]
    written["asInt"] = "907199254740"

    assert decode_metrics(metrics(written)).points[0].value == 907199254740


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "many", None, True, 1e16, {"a": 1}])
def test_impossible_counts_are_rejected(value: object) -> None:
    """A count that is none is rejected by itself; its neighbour still counts."""
    reported = decode_metrics(metrics(point("input", value, 100), point("output", 5, 100)))

    assert (reported.rejected, [each.value for each in reported.points]) == (1, [5])


def test_lone_surrogate() -> None:
    """A model name that no text file could hold does not break what is made of it."""
    reported = decode_logs(event(100, "r1", model="claude-\ud800opus"))

    assert reported.requests[0].model.encode()


def test_session_left_out() -> None:
    """Without session ids, metrics and events meet by their origin; another host is another origin."""
    reported = decode_metrics(metrics(point("input", 5, 100, session=None)))
    here, there = decode_logs(event(100, "r1")), decode_logs(event(100, "r1", host="other"))

    assert reported.points[0].unit in here.requests[0].units
    assert reported.points[0].unit not in there.requests[0].units


def test_constant_request_ids() -> None:
    """Two events under one request id, as a gateway may send them, stay two."""
    first = decode_logs(event(100, "same", sequence=1)).requests[0]
    again = decode_logs(event(100, "same", sequence=1)).requests[0]
    second = decode_logs(event(101, "same", sequence=2)).requests[0]

    assert first.key == again.key
    assert first.key != second.key


def _named(*said: Mapping[str, object]) -> str:
    written = json.dumps([sorted((key, str(value)) for key, value in each.items()) for each in said])
    return hashlib.blake2s(written.encode(), digest_size=8).hexdigest()


@settings(max_examples=100, deadline=None)
@given(person=st.text(max_size=9), sequence=st.integers(0), request_id=st.text(max_size=9), host=st.text(max_size=9))
def test_names_hold_from_version_to_version(person: str, sequence: int, request_id: str, host: str) -> None:
    """Events, series and origins are named by digests that journals of all versions hold, whatever they say."""
    more: dict[str, Any] = {"user.id": person, "session": None}
    reported = decode_logs(event(100, request_id, sequence=sequence, host=host, **{"user.id": person}))
    series = decode_metrics(metrics(point("input", 5, 100, **more), host=host)).points[0]
    resource = {"service.name": "claude-code", "host.name": host}
    origin = _named(resource, {"user.id": person, "user.account_uuid": None, "organization.id": None})
    key = _named({"unit": SESSION, "number": sequence, "id": _utf8(request_id), "at": 100.0})

    assert reported.requests[0].units == (SESSION, "~" + origin)
    assert series.unit == "~" + origin
    assert series.series == _named(resource, {"type": "input", "model": "claude-opus-5-5", "user.id": person})
    assert reported.requests[0].key == event_key(key)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000])
def test_garbage_is_refused(body: bytes) -> None:
    """What is no JSON object at all gets 400."""
    with pytest.raises(RefusedError) as refused:
        understand("/v1/logs", JSON, "", body)

    assert refused.value.status == 400


def test_garbage_protobuf_is_refused() -> None:
    """Bytes that are no message get 400."""
    with pytest.raises(RefusedError) as refused:
        understand("/v1/metrics", PROTOBUF, "", b"\xff\xff\xff garbage")

    assert refused.value.status == 400


_ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(junk=_ANY, depth=st.integers(0, 6), value=_ANY)
def test_any_shape_is_survived(junk: object, depth: int, value: object) -> None:
    """Whatever stands where the protocol wants a list, an object or a number, nothing is raised."""
    shapes: list[Any] = [
        junk,
        {"resourceMetrics": junk, "resourceLogs": junk},
        {"resourceMetrics": [{"resource": junk, "scopeMetrics": junk}]},
        {"resourceMetrics": [{"scopeMetrics": [{"metrics": junk}]}]},
        metrics({"attributes": junk, "timeUnixNano": value, "asDouble": value}),
        metrics(point("input", value, 100), temporality=junk),
        event(100, "r", sequence=1) | {"resourceMetrics": junk},
    ]

    reported = decode_metrics(shapes[depth])
    decode_logs(shapes[depth])

    assert all(0 <= each.value <= 1e15 for each in reported.points)
