"""Whatever a disk, a crash or a foreign hand makes of the journal: it opens, and what is whole in it counts."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.sources.otlp.exports import event, metrics, point
from tests.sources.otlp.receiving import NOW, Clock
from tests.support.places import IN_PLACE

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Turn
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import Decoded, Request, decode_logs, decode_metrics, event_key
from claude_gauge.sources.otlp.export import Export
from claude_gauge.sources.otlp.feed import OtlpFeed
from claude_gauge.sources.otlp.journal import Event, written

EVENT = ["r", "00000000000000aa", "req_1", ["s", "~o"], NOW - 60, "claude-opus-5-5", [1, 20, 300, 4000]]
SERIES = ["s", "abc@1.000000", "s", "output", NOW - 60, 5.0, 5.0, [NOW - 60]]
FILL = ["f", "s-1", "s", NOW - 60, "claude-opus-5-5", [0, 5, 0, 0]]
OLD = ["o", "s", [1, 2, 3, 4]]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["r", "s", "f", "o"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


class World:
    """A feed and its counter on one journal."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.counter = OtlpCounter()
        own = Settings(otlp="127.0.0.1:0", state_dir=folder, node="test")
        self.feed = OtlpFeed(own, counter=lambda: self.counter, lock=threading.Lock(), clock=self.clock)
        self.feed.load()

    def event(self, number: int) -> bool:
        """Take an event; return whether it was stored."""
        return self.feed.accept(
            Export("logs", decode_logs(event(NOW - 1, f"q{number}", sequence=number)), protobuf=False)
        )

    def grow(self, total: float) -> bool:
        """Take a cumulative point of another session."""
        body = metrics(point("output", total, NOW - 99 + total, start=NOW - 100, session="m"), temporality=2)
        return self.feed.accept(Export("metrics", decode_metrics(body), protobuf=False))

    def week(self) -> int:
        """Return what is counted."""
        return self.counter.week(self.clock.now)


@given(line=st.sampled_from([EVENT, SERIES, FILL, OLD]), at=st.integers(0, 7), value=values)
@example(line=SERIES, at=6, value=2.0**63)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_wrong_value(tmp_path: Path, line: list[Any], at: int, value: object) -> None:
    """A wrong value in a right shape never keeps the publisher from starting, receiving and starting again."""
    broken = [value if index == at else each for index, each in enumerate(line)]
    journal = tmp_path / "otlp-test.jsonl"
    journal.write_text(json.dumps(broken) + "\n")
    world = World(tmp_path)
    before = world.week()
    world.feed._journal.open(NOW)
    world.event(1)
    world.grow(7)
    world.feed.settle(NOW + 40)
    world.feed._journal.close()

    assert world.week() - before >= 4321
    assert 0 <= World(tmp_path).week() < 10**13


@given(junk=st.lists(st.binary(max_size=40), max_size=4), cut=st.integers(0, 200))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_between(tmp_path: Path, junk: list[bytes], cut: int) -> None:
    """Garbage between the lines and a half line at the end cost themselves alone."""
    whole = json.dumps(EVENT).encode() + b"\n"
    other = json.dumps([*EVENT[:1], "00000000000000bb", *EVENT[2:]]).encode()[:cut]
    journal = tmp_path / "otlp-test.jsonl"
    journal.write_bytes(b"\n".join([*junk, b""]) + whole + other)
    world = World(tmp_path)
    world.feed._journal.open(NOW)
    world.feed._journal.close()
    stored = world.event(1)

    assert stored
    assert World(tmp_path).week() == world.week() == (3 if cut > len(json.dumps(EVENT)) - 1 else 2) * 4321


@pytest.mark.parametrize("value", ["1e999", "NaN", "-1", "true", "1e13", "null", '"5"', "[]"])
def test_counts_that_are_none(tmp_path: Path, value: str) -> None:
    """A count that is none is skipped with its line."""
    (tmp_path / "otlp-test.jsonl").write_text(json.dumps(EVENT).replace("4000]", f"{value}]") + "\n")

    assert World(tmp_path).week() == 0


def test_rewritten_while_exports_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives while the journal is rewritten is in it afterwards, once."""
    monkeypatch.setattr("claude_gauge.sources.otlp.journal.GROWTH", 1)
    world = World(tmp_path)
    for number in range(60):
        assert world.event(number)
        world.grow(number + 1)
    world.feed._journal.close()
    world.clock.now += 40
    world.feed.settle(world.clock.now)
    world.feed._journal.close()
    again = World(tmp_path, Clock(NOW + 41))

    assert world.week() == again.week() == 60 * 4321 + 60


def test_many_sessions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most sessions the longest silent one is forgotten: all events still count, metrics never twice."""
    monkeypatch.setattr("claude_gauge.sources.otlp.reconcile.MOST_UNITS", 20)
    monkeypatch.setattr("claude_gauge.sources.otlp.series.MOST_SERIES", 20)
    world = World(tmp_path)
    for number in range(200):
        more: dict[str, Any] = {"session.id": f"s{number}"}
        at = NOW - 1000 + number
        world.feed.accept(Export("logs", decode_logs(event(at, f"q{number}", sequence=number, **more)), protobuf=False))
        counted = metrics(point("output", 20, at, start=NOW - 2000, session=f"s{number}"), temporality=2)
        world.feed.accept(Export("metrics", decode_metrics(counted), protobuf=False))
        world.feed.settle(at + 40)
    for number in range(200):  # sessions that were forgotten come back
        counted = metrics(point("output", 20, NOW, start=NOW - 2000, session=f"s{number}"), temporality=2)
        world.feed.accept(Export("metrics", decode_metrics(counted), protobuf=False))
    world.clock.now += 100
    world.feed.settle(world.clock.now)
    reconciler = world.feed._reconciler

    assert world.week() == 200 * 4321
    assert max(len(reconciler._units), len(reconciler._talkers), len(reconciler.meters.series)) <= 22
    assert World(tmp_path, world.clock).week() == 200 * 4321


@st.composite
def _events(draw: st.DrawFn) -> list[Request]:
    """Events of a week in any order, some of the same request id, as a gateway may give to several."""
    ages = draw(st.lists(st.integers(0, 8 * 86400), min_size=1, max_size=12, unique=True))
    ids = st.sampled_from(["", "a", "b", "c"])
    counts = st.tuples(*[st.integers(0, 9)] * 4)
    return [
        Request(1 + number, draw(ids), ("s", "~o"), NOW - age, "claude-opus-5-5", Tokens(*draw(counts)))
        for number, age in enumerate(ages)
    ]


@given(events=_events(), line=st.integers(0, 11))
@settings(max_examples=300, deadline=None)
def test_a_start_counts_as_the_run_before_did(events: list[Request], line: int) -> None:
    """What a start reads from the journal, it counts as when it was received: sums, and a line's event."""
    received, read = OtlpCounter(), OtlpCounter()
    for each in events:
        received.event(each, NOW)
    journal = [msgspec.json.decode(written(each), type=Event) for each in events]
    read.kept([(event_key(each.key), each) for each in journal], NOW)
    event = events[line % len(events)]
    own, output, read_, created = (
        round(each)
        for each in (event.tokens.input, event.tokens.output, event.tokens.cache_read, event.tokens.cache_creation)
    )
    turn = Turn(event.at, "msg", event.request_id or None, "l", event.model, False, own, output + 1, read_, created)  # noqa: FBT003
    before = received.week(NOW), received.traffic(NOW)

    assert (read.week(NOW), read.traffic(NOW)) == before
    assert (read.add(turn, NOW), read.week(NOW)) == (received.add(turn, NOW), received.week(NOW))


def test_a_large_export_is_counted_whole(tmp_path: Path) -> None:
    """An export of many events and points is counted in parts, and all of it is there after a restart."""
    world = World(tmp_path)
    many = [decode_logs(event(NOW - 1 - number / 10, f"q{number}", sequence=number)) for number in range(700)]
    world.feed.accept(
        Export("logs", Decoded(requests=[each for part in many for each in part.requests]), protobuf=False)
    )
    points = [point("output", 5, NOW - 1 - number / 10, session=f"m{number}") for number in range(600)]
    world.feed.accept(Export("metrics", decode_metrics(metrics(*points)), protobuf=False))
    world.clock.now += 100
    while world.feed.due() is not None and (world.feed.due() or 0) <= world.clock.now:
        world.feed.settle(world.clock.now)

    assert world.week() == 700 * 4321 + 600 * 5
    assert World(tmp_path, world.clock).week() == world.week()


@pytest.mark.parametrize(("sessions", "least", "most"), [(1, 200, 300), (600, 600, 3000)])
def test_a_past_of_many_sessions(tmp_path: Path, sessions: int, least: int, most: int) -> None:
    """Hours that metrics alone know are laid out by the minute; those of very many sessions at once in fewer pieces."""
    world = World(tmp_path)
    points = [point("output", 5000, NOW - 1, start=NOW - 18_000, session=f"m{number}") for number in range(sessions)]
    world.feed.accept(Export("metrics", decode_metrics(metrics(*points)), protobuf=False))
    world.clock.now += 100
    while world.feed.due() is not None:
        world.feed.settle(world.clock.now)
    fills = [line for line in (tmp_path / "otlp-test.jsonl").read_bytes().splitlines() if line.startswith(b'["f"')]

    assert least <= len(fills) <= most
    assert world.week() == sessions * 5000
    assert World(tmp_path, world.clock).week() == world.week()


@pytest.mark.parametrize("place", ["a pipe", "a device without an end", "a folder", "a link to itself"])
def test_no_file_in_its_place(place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is no journal is neither waited for nor read to its end; counting goes on from now."""
    IN_PLACE[place](tmp_path / "otlp-test.jsonl")
    world = World(tmp_path)
    world.feed._journal.open(NOW)
    world.event(1)
    world.feed._journal.close()

    assert world.week() == 4321
    assert "cannot read" in caplog.text
