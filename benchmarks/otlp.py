"""OTLP at its bounds: a start on a week's events, and how long hostile bodies keep the other threads waiting.

    python benchmarks/otlp.py

Each start runs in a process of its own: processor time and memory are those of the whole process, imports included.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_gauge.sources.otlp.decode import Request

NOW = 1_795_430_000.0
WEEK_S = 7 * 86400.0
WEEKS = ((0, 1), (200_000, 2_000), (200_000, 200_000), (490_000, 490_000))  # events, sessions
_NUMBERS = itertools.count(0, 1000)
LARGEST, MOST = 4 * 2**20, 100_000  # bytes and elements of a body that is taken
BATCH, SAYS = 512, 24  # events that Claude Code sends at once at most, and what each says


def main() -> None:
    """Measure, and print rows as RESULTS.md has them."""
    with tempfile.TemporaryDirectory() as folder:
        for events, sessions in WEEKS:
            state = Path(folder) / f"{events}-{sessions}"
            write_week(state, events, sessions)
            done = subprocess.run(
                [sys.executable, __file__, "start", str(state)], check=True, capture_output=True, text=True
            )
            took = json.loads(done.stdout)
            print(f"| {events:,} events of {sessions:,} sessions | {took['s']:.2f} s | {took['mb']:.0f} MB |")
        for name, (path, kind, body) in hostile().items():
            figures = stall(Path(folder) / "hostile", path, kind, body)
            print(f"| {name} | {' | '.join(f'{each * 1e3:.0f} ms' for each in figures)} |")


def write_week(state: Path, events: int, sessions: int) -> None:
    """Write the journal that a week of events leaves."""
    from claude_gauge.sources.otlp.journal import Journal  # noqa: PLC0415 - the measured processes import by themselves

    state.mkdir()
    journal = Journal(state / "otlp-test.jsonl")
    journal.open(NOW)
    for first in range(0, events, 1000):
        journal.append([_request(number, events, sessions) for number in range(first, first + 1000)], NOW)


def _request(number: int, events: int, sessions: int) -> Request:
    from claude_gauge.counting.reading import Tokens  # noqa: PLC0415 - as above
    from claude_gauge.sources.otlp.decode import Request, event_key  # noqa: PLC0415 - as above

    session = f"{number % sessions:08x}-1111-4111-8111-111111111111"
    return Request(
        key=event_key(f"{number * 2654435761 % 2**64:016x}"),
        request_id=f"req_{number:024x}",
        units=(session, "~0123456789abcdef"),
        at=round(NOW - WEEK_S + number * WEEK_S / events, 3),
        model="claude-opus-5-5",
        tokens=Tokens(10 + number % 7, 200 + number % 1000, 70_000 + number % 30_000, number % 3000),
    )


def start(state: str) -> None:
    """Load a journal and show a reading; print what that took."""
    from claude_gauge.config import Settings  # noqa: PLC0415 - measured
    from claude_gauge.sources.otlp.feed import Otlp  # noqa: PLC0415

    source = Otlp(Settings(otlp="127.0.0.1:0", state_dir=Path(state), node="test"), lambda: NOW)
    source.start(lambda: None)
    source.read(NOW)
    used = resource.getrusage(resource.RUSAGE_SELF)
    highest = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert highest
    print(json.dumps({"s": used.ru_utime + used.ru_stime, "mb": int(highest[1]) / 1024}))
    source.stop()


def hostile() -> dict[str, tuple[str, str, bytes]]:
    """Bodies of the largest size and of the most elements, by what they are."""
    protobuf, text = "application/x-protobuf", "application/json"
    many = b"\x12\x00" * (MOST - 2)
    scope = b"\x12" + _varint(len(many)) + many
    return {
        "protobuf, empty records": ("/v1/logs", protobuf, b"\x0a" + _varint(len(scope)) + scope),
        "protobuf, unknown fields": ("/v1/logs", protobuf, b"\x9a\x06\x00" * MOST),
        "protobuf, beyond the limit": ("/v1/logs", protobuf, b"\x0a\x00" * (LARGEST // 2)),
        "protobuf, attributes": ("/v1/logs", protobuf, _attributes()),
        "JSON, empty objects": ("/v1/logs", text, b'{"resourceLogs":[' + b"{}," * (MOST // 2 - 9) + b"{}]}"),
        "JSON, a long text": ("/v1/logs", text, b'{"a":"' + b"x" * (LARGEST - 10) + b'"}'),
        "JSON, events as small as can be": ("/v1/logs", text, _events()),
        "JSON, points of as many sessions": ("/v1/metrics", text, _points(0, MOST // 15)),
        "JSON, as many attributes as points": ("/v1/metrics", text, _points(MOST // 10, MOST // 30)),
    }


def _events() -> bytes:
    named = b'"attributes":[{"key":"event.name","value":{"stringValue":"api_request"}}]'
    first = round((NOW - 50) * 1e9)
    records = b",".join(b'{"timeUnixNano":"%d",%s}' % (first + 10**6 * n, named) for n in range(MOST // 8))
    return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + records + b"]}]}]}"


def _points(said: int, count: int) -> bytes:
    """Points of a session each, below a resource with so many attributes."""
    attributes = b",".join(b'{"key":"%d","value":{"stringValue":"b"}}' % n for n in range(said))
    first, head = round((NOW - 50) * 1e9), b'{"resourceMetrics":[{"resource":{"attributes":['
    session = b'{"key":"session.id","value":{"stringValue":"%d"}},{"key":"type","value":{"stringValue":"input"}}'
    points = b",".join(
        b'{"timeUnixNano":"%d","asInt":9,"attributes":[%s]}' % (first + n, session % n) for n in range(count)
    )
    metric = b'{"name":"claude_code.token.usage","sum":{"aggregationTemporality":2,"dataPoints":[' + points + b"]}}"
    return head + attributes + b']},"scopeMetrics":[{"metrics":[' + metric + b"]}]}]}"


def _attributes() -> bytes:
    pair = b"\x0a\x01a\x12\x03\x0a\x01b"
    attributes = b"".join(b"\x32" + _varint(len(pair)) + pair for _ in range(20))
    record = b"\x12" + _varint(len(attributes)) + attributes
    scope = record * (MOST // 85)
    scopes = b"\x12" + _varint(len(scope)) + scope
    return b"\x0a" + _varint(len(scopes)) + scopes


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:  # noqa: PLR2004 - seven bits each
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def stall(state: Path, path: str, kind: str, body: bytes) -> tuple[float, float, float, float]:
    """Return the processor time that a body takes, and the longest that others waited for it, seconds.

    These are a reader of the figures (time), a small export and a full batch (processor time of the process, their own
    included).
    """
    from claude_gauge.config import Settings  # noqa: PLC0415 - as above
    from claude_gauge.daemon.machine import take_short_turns  # noqa: PLC0415
    from claude_gauge.sources.otlp import export  # noqa: PLC0415
    from claude_gauge.sources.otlp.feed import Otlp  # noqa: PLC0415
    from claude_gauge.system.http.messages import RefusedError  # noqa: PLC0415

    take_short_turns()  # as the publisher does
    settings = [Settings(otlp="127.0.0.1:0", state_dir=state, node=node) for node in ("one", "two")]
    source, other = (Otlp(each, lambda: NOW) for each in settings)  # nothing counts twice
    source.start(lambda: None)
    other.start(lambda: None)
    took = []

    def take() -> None:
        before = time.thread_time()
        with contextlib.suppress(RefusedError):
            source._feed.accept(export.understand(path, kind, "", body, NOW))  # noqa: SLF001 - what its route calls
        took.append(time.thread_time() - before)

    def read() -> None:
        source.read(NOW)
        time.sleep(0.0005)

    post = functools.partial(_post, other.port)
    reader = _worst(take, read, time.perf_counter)
    small, full = (
        _worst(lambda: post(path, kind, body), functools.partial(post, "/v1/logs", *each), time.process_time)
        for each in (_events_of(1, 1), _events_of(BATCH, SAYS))
    )
    source.stop()
    other.stop()
    return took[0], reader, small, full


def _worst(work: Callable[[], None], do: Callable[[], None], clock: Callable[[], float]) -> float:
    """Do something again and again while a thread works; return the longest that it took."""
    worker, worst = threading.Thread(target=work), 0.0
    worker.start()
    while worker.is_alive():
        before = clock()
        do()
        worst = max(worst, clock() - before)
    return worst


def _events_of(count: int, says: int) -> tuple[str, bytes]:
    """Write an export of events with so many attributes each."""
    names = ("event.name", *(f"attribute.{number}" for number in range(1, says)))
    named = [{"key": name, "value": {"stringValue": "api_request"}} for name in names]
    first = round((NOW - 9) * 1e9)
    records = [{"timeUnixNano": str(first + next(_NUMBERS)), "attributes": named} for _ in range(count)]
    return "application/json", json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()


def _post(port: int, path: str, kind: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path, body, {"Content-Type": kind})
    connection.getresponse().read()
    connection.close()


if __name__ == "__main__":
    start(sys.argv[2]) if sys.argv[1:2] == ["start"] else main()
