"""The increments of made-up counters against the truth, and the 7 days against the block; no engine needed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.prometheus.past import HOUR, NOON, came_in, labels

from claude_gauge.contract.plan_window import MOST_TOKENS
from claude_gauge.sources.prometheus.client import Sample
from claude_gauge.sources.prometheus.increments import Counters, Increment
from claude_gauge.sources.prometheus.source import Count

# Scrapes of one series: how long after the one before, and what it shows.
SCRAPES = st.lists(st.tuples(st.sampled_from([130.0, 400.0, 7 * HOUR]), st.integers(0, 10**6)), max_size=40)


def samples(session: str, scrapes: list[tuple[float, int]], kind: str = "output") -> list[Sample]:
    """Write the samples of one series, the newest at noon."""
    at = NOON - sum(wait for wait, _ in scrapes)
    made = []
    for wait, value in scrapes:
        at += wait
        made.append(Sample(labels(session, kind), at, value))
    return made


def pairs(some: list[Sample]) -> list[tuple[Sample, float]]:
    """Let each sample's tokens count at its own time."""
    return [(each, each.at) for each in some]


@settings(deadline=None, max_examples=200)
@given(st.lists(SCRAPES, max_size=4), st.integers(1, 50))
def test_each_token_once(several: list[list[tuple[float, int]]], size: int) -> None:
    """Whatever is asked for twice, late or in other parts: each rise counts once, from births through restarts."""
    counters = Counters()
    past = [samples(f"s{number}", scrapes) for number, scrapes in enumerate(several)]
    increments: list[Increment] = []
    for series in past:
        for first in range(0, len(series), size):
            increments += counters.feed(pairs(series[max(0, first - 3) : first + size]))
        increments += counters.feed(pairs(series))

    total = sum(each.amount for each in increments)
    true = sum(came_in([(each.at, each.value) for each in series], 0, NOON) for series in past)
    assert total == true


@settings(deadline=None, max_examples=200)
@given(st.lists(SCRAPES, max_size=4), st.integers(0, 40))
def test_the_week_is_never_less_than_the_block(several: list[list[tuple[float, int]]], hours: int) -> None:
    """At any time, with births, ends, gaps and restarts: the 7 days hold all that the block holds."""
    counters, count = Counters(), Count()
    for number, scrapes in enumerate(several):
        count.add(counters.feed(pairs(samples(f"s{number}", scrapes))), NOON)
    reading = count.reading(NOON + hours * HOUR)

    assert reading.block is not None
    assert reading.week_tokens is not None
    assert reading.block.tokens <= reading.week_tokens


@pytest.mark.parametrize(("name", "most"), [("", 4000), ("a", 6000)])
def test_two_processes_in_turns(name: str, most: float) -> None:
    """A counter that jumps back to where it was belongs to two processes: only what is above its highest counts."""
    turns = [(15.0, 1000 + step if step % 2 else 50 + step) for step in range(200)]
    counters = Counters()
    increments = counters.feed(pairs(samples(name, turns)))

    assert counters.shared(NOON)
    assert not counters.shared(NOON + 2 * HOUR)
    assert sum(each.amount for each in increments) < most


def test_short_processes_of_one_session() -> None:
    """Processes that resume a session, each with about the same sums in two steps, all count."""
    turns = [(75.0 if step % 2 else 25.0, 20_000 * (1 + step % 2) + 500 * step) for step in range(60)]
    past = samples("a", turns)
    counters = Counters()
    increments = counters.feed(pairs(past))

    assert sum(each.amount for each in increments) == came_in([(each.at, each.value) for each in past], 0, NOON)


def test_resumed_again_and_again() -> None:
    """A session that is resumed every two minutes and reaches other sums is no such case."""
    turns = [(120.0 if step % 2 else 15.0, (step % 2) * (5000 + 3000 * (step % 5)) + 40) for step in range(100)]
    past = samples("a", turns)
    counters = Counters()
    increments = counters.feed(pairs(past))

    assert sum(each.amount for each in increments) == came_in([(each.at, each.value) for each in past], 0, NOON)


def test_impossible_values() -> None:
    """What no counter of tokens can hold is refused and counted; the series goes on from its last possible value."""
    counters = Counters()
    increments = counters.feed(pairs(samples("a", [(15, 10), (15, 2 * MOST_TOKENS), (15, -5), (15, 25)])))

    assert [each.amount for each in increments] == [10, 15]
    assert len(counters.refused) == 2
