"""Whatever is lost, late, repeated or restarted: the sum is the truth, and never above it at the end."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.sources.otlp.exports import event, metrics, point
from tests.sources.otlp.receiving import Clock

from claude_gauge.config import Settings
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import decode_logs, decode_metrics
from claude_gauge.sources.otlp.export import Export
from claude_gauge.sources.otlp.feed import Otlp, OtlpFeed

KINDS = ("input", "output", "cacheRead", "cacheCreation")
FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


@dataclass(frozen=True)
class Step:
    """One request and what becomes of its telemetry."""

    session: int
    tokens: tuple[int, int, int, int]
    wait_s: int
    event: str  # "now", "late", "lost"
    exported: bool  # whether an export of metrics follows it
    repeated: bool  # whether what is sent is sent again
    restarts: bool  # whether the publisher restarts after it
    process_restarts: bool  # whether the session's process ends before it, and is resumed


STEPS = st.builds(
    Step,
    session=st.integers(0, 1),
    tokens=st.tuples(*[st.integers(0, 1000)] * 4),
    wait_s=st.sampled_from([0, 1, 5, 20, 90]),
    event=st.sampled_from(["now", "now", "late", "lost"]),
    exported=st.booleans(),
    repeated=st.booleans(),
    restarts=st.booleans(),
    process_restarts=st.booleans(),
)


@dataclass
class World:
    """Claude Code's sessions on one side, a publisher that restarts on the other."""

    folder: Path
    cumulative: bool
    clock: Clock = field(default_factory=Clock)
    starts: dict[int, float] = field(default_factory=dict)
    counters: dict[tuple[int, str], int] = field(default_factory=dict)
    late: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start a publisher on what the one before kept."""
        self.counter = OtlpCounter()
        own = Settings(otlp="127.0.0.1:0", state_dir=self.folder, node="test")
        self.feed = OtlpFeed(own, counter=lambda: self.counter, lock=threading.Lock(), clock=self.clock)
        self.feed.load()

    def logs(self, body: dict[str, Any], times: int) -> None:
        """Send an event."""
        for _ in range(times):
            self.feed.accept(Export("logs", decode_logs(body), protobuf=False))

    def metrics(self, session: int, times: int) -> None:
        """Export a session's counters."""
        start = self.starts.setdefault(session, self.clock.now)
        named: dict[str, Any] = {"session": f"session{session}", "start": start}
        values = [(kind, self.counters.get((session, kind), 0)) for kind in KINDS]
        points = [point(kind, value, self.clock.now, **named) for kind, value in values if value or self.cumulative]
        body = metrics(*points, temporality=2 if self.cumulative else 1)
        for _ in range(times):
            self.feed.accept(Export("metrics", decode_metrics(body), protobuf=False))
        if not self.cumulative:
            self.forget(session)

    def forget(self, session: int) -> None:
        """Begin to count again."""
        self.starts[session] = self.clock.now
        for kind in KINDS:
            self.counters[session, kind] = 0

    def step(self, number: int, step: Step) -> None:
        """Live through one step."""
        times = 2 if step.repeated else 1
        self.clock.now += 1 + step.wait_s
        self.feed.settle(self.clock.now)
        if step.process_restarts:
            self.metrics(step.session, times)  # Claude Code exports once more when it ends
            self.forget(step.session)
        self.starts.setdefault(step.session, self.clock.now)
        for kind, count in zip(KINDS, step.tokens, strict=True):
            self.counters[step.session, kind] = self.counters.get((step.session, kind), 0) + count
        more: dict[str, Any] = {"session.id": f"session{step.session}", **dict(zip(FIELDS, step.tokens, strict=True))}
        body = event(self.clock.now + 0.005, f"r{number}", sequence=number, **more)
        if step.event == "now":
            self.logs(body, times)
        elif step.event == "late":
            self.late.append(body)
        if step.exported:
            self.clock.now += 0.5
            self.metrics(step.session, times)
        if step.restarts:
            self.restart()

    def end(self) -> int:
        """Let all that is late arrive; return the tokens counted."""
        self.clock.now += 1
        for session in (0, 1):
            self.metrics(session, 1)
        self.clock.now += 60
        self.feed.settle(self.clock.now)
        for body in self.late:
            self.logs(body, 2)
        self.clock.now += 60
        self.feed.settle(self.clock.now)
        return self.counter.week(self.clock.now)


@settings(max_examples=100)
@given(steps=st.lists(STEPS, min_size=1, max_size=12), cumulative=st.booleans())
def test_any_order(steps: list[Step], cumulative: bool) -> None:  # noqa: FBT001 - drawn by name
    """Events lost, late and twice, exports twice, restarts of both sides: each token counts once."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), cumulative)
        for number, step in enumerate(steps):
            world.step(number, step)
        counted = world.end()
        world.restart()
        again = world.counter.week(world.clock.now)

    assert counted == sum(sum(step.tokens) for step in steps)
    assert again == counted


@dataclass
class Process:
    """One process of Claude Code: its own temporality, and what it has counted, or has not exported yet."""

    session: int
    cumulative: bool
    start: float
    exported_at: float
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def points(self, now: float) -> list[dict[str, Any]]:
        """Export; a delta begins anew."""
        start = self.start if self.cumulative else self.exported_at
        named: dict[str, Any] = {"session": f"session{self.session}", "start": start}
        points = [point(kind, value, now, **named) for kind, value in self.totals.items() if value or self.cumulative]
        if not self.cumulative:
            self.totals, self.exported_at = dict.fromkeys(KINDS, 0), now
        return points


@dataclass(frozen=True)
class Turn:
    """A request, what is sent of it, and which of all that was ever sent is sent again after it."""

    session: int
    cumulative: bool  # of a process that begins with it
    resumed: bool  # whether one does
    tokens: tuple[int, int, int, int]
    wait_s: int
    event: bool
    exported: bool
    again: list[int]
    restarts: bool


TURNS = st.builds(
    Turn,
    session=st.integers(0, 2),
    cumulative=st.booleans(),
    resumed=st.booleans(),
    tokens=st.tuples(*[st.integers(0, 500)] * 4),
    wait_s=st.sampled_from([0, 1, 7, 30, 120, 4000]),
    event=st.booleans(),
    exported=st.booleans(),
    again=st.lists(st.integers(0, 30), max_size=3),
    restarts=st.booleans(),
)


class Sender:
    """Sends to a publisher, perhaps through a collector, which puts exports together; knows all that it sent."""

    def __init__(self, folder: Path, *, together: bool) -> None:
        self.world = World(folder, cumulative=False)
        self._together = together
        self._held: dict[int, list[dict[str, Any]]] = {}  # by temporality
        self.sent: list[Export] = []
        self.processes: dict[int, Process] = {}

    def send(self, export: Export) -> None:
        """Send, and look whether the sums contradict each other."""
        self.world.feed.accept(export)
        now = self.world.clock.now
        assert self.world.counter.week(now) >= self.world.counter.block(now).tokens
        assert self.world.counter.traffic(now).minute.total >= 0

    def export(self, process: Process) -> None:
        """Export a process's counters, or have the collector hold every second one."""
        temporality = 2 if process.cumulative else 1
        held = self._held.pop(temporality, [])
        held += process.points(self.world.clock.now)
        if self._together and len(held) < 5:
            self._held[temporality] = held
        else:
            self.metrics(held, temporality)

    def metrics(self, points: list[dict[str, Any]], temporality: int) -> None:
        """Send points."""
        decoded = decode_metrics(metrics(*points, temporality=temporality), self.world.clock.now)
        self.sent.append(Export("metrics", decoded, protobuf=False))
        self.send(self.sent[-1])

    def live(self, number: int, turn: Turn) -> None:
        """Live through one turn."""
        clock = self.world.clock
        clock.now += 1 + turn.wait_s
        self.world.feed.settle(clock.now)
        process = self.processes.get(turn.session)
        if process is not None and turn.resumed:
            self.export(process)  # as Claude Code does when it ends
            clock.now += 0.5
        if process is None or turn.resumed:
            process = self.processes[turn.session] = Process(turn.session, turn.cumulative, clock.now, clock.now)
            clock.now += 0.2
        for kind, count in zip(KINDS, turn.tokens, strict=True):
            process.totals[kind] += count
        if turn.event:
            counts = dict(zip(FIELDS, turn.tokens, strict=True))
            more: dict[str, Any] = {"session.id": f"session{turn.session}", **counts}
            body = event(clock.now + 0.005, f"r{number}", sequence=number, **more)
            self.sent.append(Export("logs", decode_logs(body), protobuf=False))
            self.send(self.sent[-1])
        if turn.exported:
            clock.now += 0.5
            self.export(process)
        for which in turn.again[: len(self.sent)]:
            self.send(self.sent[which % len(self.sent)])
        if turn.restarts:
            self.world.restart()

    def end(self) -> int:
        """Send what is held, then all of it again, the newest first; return what is counted."""
        self.world.clock.now += 1
        for process in self.processes.values():
            self.export(process)
        for temporality, points in self._held.items():
            self.metrics(points, temporality)
        for export in reversed(self.sent):
            self.send(export)
        for _ in range(2):
            self.world.clock.now += 120
            self.world.feed.settle(self.world.clock.now)
        return self.world.counter.week(self.world.clock.now)


@settings(max_examples=100, deadline=None)
@given(turns=st.lists(TURNS, min_size=1, max_size=12), together=st.booleans())
def test_temporalities_mixed(turns: list[Turn], together: bool) -> None:  # noqa: FBT001 - drawn by name
    """Resumed with another temporality, through a collector, and anything sent again at any later time: once each."""
    with tempfile.TemporaryDirectory() as folder:
        sender = Sender(Path(folder), together=together)
        for number, turn in enumerate(turns):
            sender.live(number, turn)
        counted = sender.end()
        sender.world.restart()

        assert counted == sum(sum(turn.tokens) for turn in turns)
        assert sender.world.counter.week(sender.world.clock.now) == counted


HOUR_S, DAY_S = 3600, 86400
JUMPS_S = [
    0,
    0,
    0,
    *(sign * by for by in (60, HOUR_S, 5 * HOUR_S, 2 * DAY_S, 20 * DAY_S, 365 * DAY_S) for sign in (1, -1)),
]


def _used(kind: str, number: int, at: float, total: int) -> Export:
    """Export what was used at a time, by an event, a delta or a counter."""
    if kind == "event":
        more: dict[str, Any] = {"session.id": f"e{number}"}
        return Export("logs", decode_logs(event(at, f"r{number}", sequence=number, **more), at), protobuf=False)
    if kind == "delta":
        body = metrics(point("output", 70, at, start=at - 5, session="delta"))
    else:
        body = metrics(point("output", total, at, start=Clock().now - 10, session="counter"), temporality=2)
    return Export("metrics", decode_metrics(body, at), protobuf=False)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(JUMPS_S), st.booleans(), st.sampled_from(["event", "delta", "counter"])),
        min_size=1,
        max_size=10,
    )
)
@example(steps=[(by * DAY_S, False, "counter" if by == 20 else "event") for by in (2, 2, 20, 0, 0, 0, 0)])
def test_clock_jumps(steps: list[tuple[float, bool, str]]) -> None:
    """Whatever the clock was before, and across restarts: what is used now moves the tach now."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        own = Settings(otlp="127.0.0.1:0", state_dir=Path(folder), node="test")
        source = Otlp(own, clock)
        source.load()
        for number, (jump_s, restarts, kind) in enumerate(steps):
            clock.now += jump_s + 200
            source.read(clock.now)
            if restarts:
                source.stop()
                source = Otlp(own, clock)
                source.load()
            source._feed.accept(_used(kind, number, clock.now - 1, 50 * (number + 1)))
            clock.now += 30
            reading = source.read(clock.now)

            assert reading.traffic
            assert reading.block
            assert (reading.week_tokens or 0) >= reading.block.tokens
            if kind != "counter":  # which may have begun under another clock
                assert reading.traffic.minute.total >= 70
                ended = clock.now % HOUR_S < 31  # a block ends at a whole hour: perhaps just since the use
                assert reading.block.tokens >= 70 or ended
        source.stop()
