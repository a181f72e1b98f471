from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.contract.needle import LEAST_GAP_S
from claude_gauge.contract.usage import Usage
from claude_gauge.counting.counter import Counter
from claude_gauge.counting.derive import Limits
from claude_gauge.counting.reading import Block, Health, Reading, Traffic
from claude_gauge.counting.turn import Turn
from claude_gauge.daemon.publisher import Publisher

NOW = 1_763_856_000.0
TURN = Turn(NOW, "m", "r", "l", "claude-opus-5-5", False, 5, 100, 1000, 50, 20)  # noqa: FBT003 - no sidechain


class Scripted:
    """A source that answers as it is set, notes at what times it was asked, and can call for a look."""

    def __init__(self, reading: Callable[[float], Reading], due: Callable[[float], float | None]) -> None:
        self._reading, self._due = reading, due
        self.asked: list[tuple[str, float]] = []
        self.changed: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        """Keep whom to call."""
        self.changed = changed

    def read(self, now: float) -> Reading:
        """Answer."""
        self.asked.append(("read", now))
        return self._reading(now)

    def due(self, now: float) -> float | None:
        """Answer."""
        self.asked.append(("due", now))
        return self._due(now)

    def stop(self) -> None:
        """Nothing to end."""


class Ticking:
    """A clock that moves at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = NOW, step

    def __call__(self) -> float:
        """Tell the time, which then passes."""
        self.now += self.step
        return self.now


def test_each_decision_looks_at_the_clock_once() -> None:
    """The reading and what is due next are asked for the same moment: nothing falls between the two."""
    source = Scripted(lambda _: Reading(Traffic(newest_at=NOW), Block()), lambda _: None)
    received: list[Usage] = []
    publisher = Publisher(source, Limits(), [lambda usage, _: received.append(usage)], node="n", clock=Ticking(0.01))
    publisher.send_due()
    publisher.send_due()

    assert source.asked[0][1] == source.asked[1][1] != source.asked[2][1] == source.asked[3][1]
    assert len(received) == 1


@pytest.mark.parametrize("step", [0.0005, 0.003, 0.7])
def test_needle_reaches_zero_however_the_clock_falls(step: float) -> None:
    """A response leaves the minute just between two looks at the clock: the next look is due then, not later."""
    counter, clock = Counter(), Ticking(step)
    for n in range(40):
        counter.add(TURN._replace(at=NOW - 59.98 + n / 1000, message_id=f"m{n}"), NOW)
    source = Scripted(lambda now: Reading(counter.traffic(now), counter.block(now), counter.week(now)), counter.due)
    publisher = Publisher(source, Limits(), [], node="n", clock=clock)
    left = 1.0
    while left:
        wait = publisher.send_due()
        asked_at = source.asked[-1][1]
        left = counter.traffic(asked_at).minute.total

        assert not left or wait <= 0.1 or asked_at + wait <= NOW + 0.06 + 0.002
        clock.now += wait


def test_quiet_machine_is_left_alone_after_a_busy_minute() -> None:
    """Thousands of responses that leave the five minutes one by one wake nobody for each."""
    counter = Counter()
    for n in range(6000):
        counter.add(TURN._replace(at=NOW - 60 + n / 100, message_id=f"m{n}"), NOW)
    now, looks = NOW + 61, 0
    while now < NOW + 600:
        due = counter.due(now)
        if due is None or due > NOW + 600:
            break
        now, looks = due + 0.002, looks + 1

    assert looks <= 14
    assert counter.traffic(now).five_minutes.total == 0


def test_kept_window_shows_until_the_source_knows() -> None:
    """A first payload before the history is read shows the window as it was, and drives no lamp with it."""
    full = Block(95_000_000, NOW, NOW + 5 * 3600)
    away = Health("transcripts", ok=False, why="reading history", degraded=True)
    blocks: list[Block | None] = [None, full]
    source = Scripted(
        lambda now: Reading(Traffic(newest_at=now), blocks.pop(0), sources={"fuel": away}), lambda _: None
    )
    kept = Usage(
        rate_1m=0, window_5h_tokens=94_000_000, window_5h_pct=0.94, thinking_ratio=0, cache_hit_rate=0,
        last_model="opus", hot=False, warn=False, stall=True, idle=False, updated_at="2025-11-23T00:00:00.000Z",
        window_5h_resets_at="2025-11-23T05:00:00.000Z",
    )  # fmt: skip
    publisher = Publisher(source, Limits(), [], node="n", clock=lambda: NOW + 60)
    publisher.kept = kept

    first, second = publisher.compute()[0], publisher.compute()[0]
    assert (first.window_5h_pct, first.window_5h_tokens, first.last_model) == (0.94, 94_000_000, "opus")
    assert (first.fuel_source, first.warn, first.limit_before_reset) == (None, False, None)
    assert (second.window_5h_pct, second.fuel_source, second.warn) == (0.95, "ceiling", True)


def test_burst_of_calls_is_few_looks() -> None:
    """Ten looks a second are the most, however often a source calls, also while no payload goes out."""
    reading = Reading(Traffic(newest_at=NOW), Block(), 0)
    looks: list[float] = []

    def look(_: float) -> Reading:
        looks.append(time.monotonic())
        if len(looks) < 4:
            source.changed()
        else:
            publisher.stop()
        return reading

    source = Scripted(look, lambda _: None)
    publisher = Publisher(source, Limits(), [], node="n", clock=lambda: NOW)
    runner = threading.Thread(target=publisher.run)
    runner.start()
    runner.join(PATIENCE_S)

    assert not runner.is_alive()
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(looks))


def test_two_machines_with_one_node_name() -> None:
    """While another publisher writes to this node's topics, `sources` says so, and STALL stays dark for it."""
    rival = [True]
    source = Scripted(lambda _: Reading(sources={"tach": Health("transcripts")}), lambda _: None)
    publisher = Publisher(source, Limits(), [], node="n", clock=lambda: NOW, rival=lambda: rival[0])
    reported, _, _ = publisher.compute()
    rival[0] = False

    assert (reported.sources["node"].ok, reported.sources["node"].why) == (False, "another publisher has it")
    assert "node" not in publisher.compute()[0].sources


def test_other_limits_are_reported_at_once() -> None:
    """Another ceiling or redline makes a payload at the next look, also where no needle would move."""
    counter = Counter()
    counter.add(TURN._replace(at=NOW - 1), NOW)
    source = Scripted(lambda now: Reading(counter.traffic(now), counter.block(now), counter.week(now)), lambda _: None)
    received: list[Usage] = []
    publisher = Publisher(source, Limits(), [lambda usage, _: received.append(usage)], node="n", clock=lambda: NOW)
    publisher.send_due()
    publisher.send_due()
    before = len(received)
    publisher.set_limits(Limits(ceiling_5h=2310, redline=1000))
    publisher.send_due()
    publisher.set_limits(Limits(ceiling_5h=2310, redline=1001))
    publisher.send_due()
    publisher.send_due()

    assert before == 1
    assert [(each.window_5h_pct, each.hot) for each in received[1:]] == [(0.5, True), (0.5, True)]


def _running(source: Scripted, *outlets: Callable[[Usage, bytes], None]) -> tuple[Publisher, threading.Thread]:
    publisher = Publisher(source, Limits(), outlets, node="n")
    runner = threading.Thread(target=publisher.run, daemon=True)
    runner.start()
    return publisher, runner


def _changing() -> Callable[[float], Reading]:
    """A reading that is another one each time."""
    blocks = iter(range(10_000))
    return lambda now: Reading(Traffic(newest_at=now), Block(next(blocks)), 0)


def test_news_go_out_in_the_thread_that_brings_them() -> None:
    """A source's news after a quiet moment are published before `changed` returns, by no other thread."""
    source = Scripted(_changing(), lambda _: None)
    threads: list[int] = []
    first = threading.Event()

    def outlet(_usage: Usage, _payload: bytes) -> None:
        threads.append(threading.get_ident())
        first.set()

    publisher, runner = _running(source, outlet)
    assert first.wait(PATIENCE_S)
    wait_until(lambda: time.monotonic() - publisher._looked_at > LEAST_GAP_S, "the gap to be over")
    source.changed()
    publisher.stop()
    runner.join(PATIENCE_S)

    assert threads == [runner.ident, threading.get_ident()]


def test_no_news_are_lost_or_hasty() -> None:
    """Whoever brings news, and whenever: the last state is published within a moment, and never over ten a second."""
    state, sent, looks = [0], list[int](), list[float]()

    def look(now: float) -> Reading:
        looks.append(time.monotonic())
        return Reading(Traffic(newest_at=now), Block(state[0]), 0)

    source = Scripted(look, lambda _: None)
    publisher, runner = _running(source, lambda usage, _: sent.append(usage.window_5h_tokens))
    wait_until(lambda: sent, "the first payload")

    def bring(times: int, pause_s: float) -> None:
        for _ in range(times):
            state[0] += 1  # the last of several may be lost between them, the call for a look may not
            source.changed()
            threading.Event().wait(pause_s)

    bringers = [threading.Thread(target=bring, args=arguments) for arguments in ((3000, 0), (100, 0.003), (5, 0.11))]
    for each in bringers:
        each.start()
    for each in bringers:
        each.join()
    wait_until(lambda: sent[-1] == state[0], "the last state")
    publisher.stop()
    runner.join(PATIENCE_S)

    assert all(later - earlier >= 0.09 for earlier, later in pairwise(looks))


def test_time_moves_figures_after_news_too() -> None:
    """What becomes due by time right after news of a source's thread is published in time, not by a heartbeat."""
    due: list[float | None] = [None]
    source = Scripted(_changing(), lambda now: due[0] if due[0] and due[0] > now else None)
    sent: list[float] = []
    publisher, runner = _running(source, lambda *_: sent.append(time.monotonic()))
    wait_until(lambda: len(sent) == 1 and time.monotonic() - publisher._looked_at > LEAST_GAP_S, "a quiet loop")
    due[0] = time.time() + 0.3
    source.changed()
    wait_until(lambda: len(sent) == 3, "the payload that was due")
    publisher.stop()
    runner.join(PATIENCE_S)

    assert sent[2] - sent[1] >= 0.29


def test_fault_in_a_sources_thread_is_the_loops() -> None:
    """An outlet that fails ends the publisher as ever, whichever thread it fails in, and spares the source."""
    source = Scripted(_changing(), lambda _: None)
    reported = list[Usage]()
    faults: list[Exception] = []

    def outlet(usage: Usage, _: bytes) -> None:
        if reported:
            raise RuntimeError("no room")
        reported.append(usage)

    publisher = Publisher(source, Limits(), [outlet], node="n")

    def run() -> None:
        try:
            publisher.run()
        except RuntimeError as error:
            faults.append(error)

    runner = threading.Thread(target=run)
    runner.start()
    wait_until(lambda: reported and time.monotonic() - publisher._looked_at > LEAST_GAP_S, "a quiet loop")
    source.changed()
    runner.join(PATIENCE_S)

    assert [str(each) for each in faults] == ["no room"]
