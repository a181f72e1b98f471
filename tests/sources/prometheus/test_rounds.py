"""Poll through a made-up past in a real Prometheus, the clock in our hand."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.sources.prometheus.past import HOUR, NOON, counted, labels
from tests.support.prometheus import NEW, OLD, VICTORIA, Series, Server, filled

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block, Health, Reading, Tokens, Traffic
from claude_gauge.sources.prometheus.client import PrometheusClient
from claude_gauge.sources.prometheus.source import Poll


@dataclass(frozen=True)
class Figures:
    """What a round ended with, every part of it."""

    traffic: Traffic
    block: Block
    week: int
    health: Health

    @classmethod
    def of(cls, health: Health, reading: Reading) -> Figures:
        """Take them from a reading; rest where nothing is known."""
        return cls(reading.traffic or Traffic(), reading.block or Block(), reading.week_tokens or 0, health)


def go(folder: Path, past: Iterable[Series], times: Iterable[float], kind: str = NEW) -> list[Figures]:
    """Take rounds at these times."""
    with (
        filled(Server(folder / "engine", kind), past) as server,
        closing(PrometheusClient(Settings(prometheus=server.url))) as engine,
    ):
        poll = Poll(engine)
        return [Figures.of(poll.take(at), poll.reading(at)) for at in times]


def every(start: float, end: float) -> list[float]:
    """List the times of rounds."""
    return [start + 15 * step for step in range(int((end - start) // 15) + 1)]


def write(session: str, model: str, born: float, steps: list[tuple[float, float]], until: float) -> list[Series]:
    """One session's four series: 1 input, 2 output, 7 read and 4 created of each step's tokens."""
    return [
        Series(labels(session, kind, model), counted([(born + at, value * part) for at, value in steps], until))
        for kind, part in {"input": 1, "output": 2, "cacheRead": 7, "cacheCreation": 4}.items()
    ]


@pytest.mark.parametrize("kind", [OLD, NEW, VICTORIA])
def test_a_scripted_hour(tmp_path: Path, kind: str) -> None:
    """Three sessions of an hour: the tach rises and falls, the model follows who wrote last, the block adds all up."""
    end = NOON + HOUR
    past = [
        *write("a", "claude-opus-5-5", NOON + 600, [(0, 1000), (1200, 3000)], end),
        *write("b", "claude-haiku-5-5", NOON + 1500, [(0, 500)], end),
    ]

    start, readings = NOON + 300, {}
    for at, figures in zip(every(start, end), go(tmp_path, past, every(start, end), kind), strict=True):
        readings[at - NOON] = figures

    assert readings[300].traffic.minute == Tokens()
    assert readings[300].block == Block()
    assert readings[300].health.why == "no Claude Code metrics"
    assert readings[600].traffic.minute == Tokens(1000, 2000, 7000, 4000)
    assert readings[600].traffic.model == "opus"
    assert readings[600].traffic.newest_at == pytest.approx(NOON + 600, abs=0.01)
    assert readings[600].block == Block(14_000, NOON, NOON + 5 * HOUR)
    assert readings[645].traffic.minute.total == 14_000
    assert readings[660].traffic.minute.total == 0
    assert readings[660].traffic.five_minutes.cache_read == 7000
    assert readings[900].traffic.five_minutes.total == 0
    assert readings[1500].traffic.model == "haiku"
    assert readings[1800].traffic.model == "opus"
    assert readings[1800].traffic.minute.total == 28_000
    assert readings[3600].block.tokens == 14 * 3500
    assert all(figures.week == figures.block.tokens for figures in readings.values())
    assert readings[3600].week == 14 * 3500
    assert readings[3600].traffic.newest_at == pytest.approx(NOON + 1800, abs=0.01)


def test_a_start_in_the_middle(tmp_path: Path) -> None:
    """A publisher that starts late finds the block, its tokens, the last model and the last sign in the history."""
    past = [
        *write("old", "claude-sonnet-5-5", NOON - 30 * HOUR, [(0, 9)], NOON - 28 * HOUR),
        *write("a", "claude-opus-5-5", NOON - 3.5 * HOUR, [(0, 1000), (HOUR, 1500)], NOON),
        *write("b", "claude-haiku-5-5", NOON - HOUR, [(0, 10)], NOON - 1800),
    ]

    [figures] = go(tmp_path, past, [NOON])

    assert figures.block == Block(14 * 1510, NOON - 4 * HOUR, NOON + HOUR)
    assert figures.week == 14 * 1519
    assert figures.traffic.model == "haiku"
    assert figures.traffic.newest_at == pytest.approx(NOON - HOUR, abs=60)
    assert figures.traffic.minute == Tokens()


def test_work_without_a_pause(tmp_path: Path) -> None:
    """Where no pause of five hours is found in a day, the chain of blocks is followed further back."""
    steps = [(hour * HOUR * 4.0, float(hour)) for hour in range(1, 15)]
    past = write("a", "claude-opus-5-5", NOON - 60 * HOUR + 30, [(0, 0.5), *steps], NOON)

    [figures] = go(tmp_path, past, [NOON])

    # Entries every 4 h: blocks start at 0, 8, 16… hours after the first.
    assert figures.block.start == NOON - 4 * HOUR


def test_a_machine_that_slept(tmp_path: Path) -> None:
    """After a night without scrapes, what a living session had before is not taken for tokens of this minute."""
    evening, morning = NOON - 14 * HOUR, NOON - 4 * HOUR
    whole = write("a", "claude-opus-5-5", evening, [(0, 1_000_000), (10 * HOUR + 900, 1_000_010)], NOON)
    past = [
        Series(each.labels, [(at, value) for at, value in each.samples if not evening + HOUR < at < morning])
        for each in whole
    ]

    readings = go(tmp_path, past, [*every(evening, evening + 120), *every(morning - 30, morning + 1200)])

    assert max(figures.traffic.minute.total for figures in readings[10:]) == 140
    assert readings[-1].block == Block(140, morning, morning + 5 * HOUR)


def test_a_session_that_is_resumed(tmp_path: Path) -> None:
    """A session resumed by a new process counts from 0 again, in the same series: nothing is lost, nothing jumps."""
    past = write("a", "claude-opus-5-5", NOON + 60, [(0, 5000), (600, 7000), (1207, 10), (1300, 200)], NOON + HOUR)

    readings = go(tmp_path, past, [at + 4 for at in every(NOON + 1100, NOON + 2000)])

    assert {figures.block.tokens for figures in readings} == {14 * 7000, 14 * 7010, 14 * 7200}
    assert {figures.traffic.minute.total for figures in readings} == {0, 14 * 10, 14 * 190}


def test_two_processes_in_one_series(tmp_path: Path) -> None:
    """Without session ids two processes overwrite each other's counter: no guess is made, and health can say so."""
    samples = [(NOON + 15.0 * step, 1000.0 + step if step % 2 else 50.0 + step) for step in range(240)]
    past = [Series(labels("", kind), samples) for kind in ("input", "output")]

    [figures] = go(tmp_path, past, [NOON + HOUR])

    assert figures.health.why == "sessions share a series"
    assert figures.health.degraded
    assert figures.block.tokens < 5000


def test_both_namings(tmp_path: Path) -> None:
    """What Claude Code's own exporter names otherwise is counted just so, beside the collector's."""
    past = [
        *write("a", "claude-opus-5-5", NOON + 60, [(0, 10)], NOON + 600),
        *(
            Series({**each.labels, "__name__": "claude_code_token_usage_total"}, each.samples)
            for each in write("b", "claude-opus-5-5", NOON + 90, [(0, 100)], NOON + 600)
        ),
    ]

    [figures] = go(tmp_path, past, [NOON + 600])

    assert figures.block.tokens == 14 * 110
    assert figures.health.ok


def test_rolling_week_ends(tmp_path: Path) -> None:
    """The 7-day sum drops what is older than 7 days."""
    day = 24 * HOUR
    past = [
        *write("a", "claude-opus-5-5", NOON - 7.5 * day, [(0, 100)], NOON - 7.4 * day),
        *write("b", "claude-opus-5-5", NOON - 6.5 * day, [(0, 1)], NOON - 6.4 * day),
    ]

    [figures] = go(tmp_path, past, [NOON])

    assert figures.week == 14
    assert figures.traffic.model == "opus"


@pytest.mark.parametrize("kind", [OLD, NEW, VICTORIA])
def test_what_a_session_had_before_the_week(tmp_path: Path, kind: str) -> None:
    """A session that was seen long before the 7 days, and again in them, counts for what it added."""
    day = 24 * HOUR
    steps = [(-10 * day, 100_000.0), (-9.5 * day, 100_000.0), (-2 * day, 140_000.0), (-day, 150_000.0)]
    past = [Series(labels("a"), [(NOON + at, value) for at, value in steps])]

    [figures] = go(tmp_path, past, [NOON], kind)

    assert figures.week == 50_000


def test_samples_that_come_late(tmp_path: Path) -> None:
    """What arrives two minutes late counts in the next round; what arrives hours late, within the hour."""
    with (
        Server(tmp_path, VICTORIA) as server,
        closing(PrometheusClient(Settings(prometheus=server.url))) as engine,
    ):
        poll = Poll(engine)
        server.fill([Series(labels("a"), [(NOON - 600, 10.0)])])
        readings = [poll.take(NOON) and poll.reading(NOON).week_tokens]
        server.fill([Series(labels("b"), [(NOON - 90, 200.0)]), Series(labels("c"), [(NOON - 3 * HOUR, 3000.0)])])
        for at in (NOON + 15, NOON + HOUR + 15):
            poll.take(at)
            readings.append(poll.reading(at).week_tokens)

    assert readings == [10, 210, 3210]


@pytest.mark.parametrize("kind", [OLD, NEW, VICTORIA])
def test_odd_session_names(tmp_path: Path, kind: str) -> None:
    """Session ids with quotes, regular expressions and other alphabets are asked for as they are."""
    past: list[Series] = []
    for number, session in enumerate(['.*"|(\\', "é 漢 ☃", "a+b{2}$", "x/y:z", "-"]):
        past += write(session, "claude-opus-5-5", NOON + 60 + number, [(0, 700), (600, 900), (1200, 1)], NOON + 1800)

    [figures] = go(tmp_path, past, [NOON + 1800], kind)

    assert figures.block.tokens == 5 * 14 * 901


def test_many_rounds_a_second(tmp_path: Path) -> None:
    """However often it asks, a second's tokens are added to the week once."""
    past = write("a", "claude-opus-5-5", NOON + 60, [(0, 100), (30, 200)], NOON + 600)

    readings = go(tmp_path, past, [NOON + 55 + 0.2 * step for step in range(300)])

    assert all(figures.week == figures.block.tokens for figures in readings)
    assert readings[-1].week == 14 * 200
