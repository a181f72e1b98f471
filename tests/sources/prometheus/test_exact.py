"""The sums against the truth, sample by sample, in real engines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.sources.prometheus.past import HOUR, NOON, truth, wild
from tests.support.prometheus import NEW, OLD, VICTORIA, Series, Server
from tests.support.prometheus import TOKENS as NAME
from tests.support.prometheus import filled as having

from claude_gauge.config import Settings
from claude_gauge.sources.prometheus.client import PrometheusClient
from claude_gauge.sources.prometheus.increments import CounterReader, Increment
from claude_gauge.sources.prometheus.names import TOKENS
from claude_gauge.sources.prometheus.source import Poll

WINDOWS = {"minute": 60.0, "five": 300.0, "block": 5 * HOUR, "day": 20 * HOUR}
CASES = [f"case{number}" for number in range(25)]
KINDS = (OLD, NEW, VICTORIA)


# One engine, filled once, for all that ask it: they run in one process.
ENGINES = [pytest.param(kind, marks=pytest.mark.xdist_group(f"filled-{kind}")) for kind in KINDS]


@pytest.fixture(scope="module", params=ENGINES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, list[Series]]]:
    """Twenty-five wild pasts in one engine."""
    chance = random.Random(7)
    past = [series for case in CASES for series in wild(chance, case, NOON)]
    with having(Server(tmp_path_factory.mktemp(request.param), request.param), past) as server:
        yield server, past


@pytest.mark.parametrize("case", CASES)
def test_wild_pasts(filled: tuple[Server, list[Series]], case: str) -> None:
    """Sessions that begin, end, overlap, start again, under scrapes that failed: each token is counted once."""
    server, past = filled
    own = [series for series in past if series.labels["case"] == case]
    sums = {}
    with closing(PrometheusClient(Settings(prometheus=server.url))) as engine:
        for at in (NOON, NOON - 1800, NOON - 3 * HOUR):
            increments: list[Increment] = []
            CounterReader(engine, TOKENS, f'case="{case}"').advance(at, increments.extend)
            for name, length in WINDOWS.items():
                sums[at, name] = sum(each.amount for each in increments if at - length < each.at <= at)

    assert sums == {(at, name): truth(own, at - WINDOWS[name], at) for at, name in sums}


@pytest.mark.parametrize("case", CASES[:8])
def test_the_week_holds_the_block(filled: tuple[Server, list[Series]], case: str) -> None:
    """Round after round, restarts and all: the 7 days are the truth, and never less than the block."""
    server, past = filled
    own = [series for series in past if series.labels["case"] == case]
    ats = [NOON - 4 * HOUR + 600 * step for step in range(25)]
    with closing(PrometheusClient(Settings(prometheus=server.url))) as engine:
        poll = Poll(engine, f'case="{case}"')
        sums = [(poll.take(at), poll.reading(at)) for at in ats]

    weeks = [reading.week_tokens for _, reading in sums]
    assert [week or 0 for week in weeks] == [truth(own, at - 7 * 86400, at) for at in ats]
    assert all((reading.block.tokens if reading.block else 0) <= (reading.week_tokens or 0) for _, reading in sums)


def test_the_seeds_query_is_not_exact(filled: tuple[Server, list[Series]]) -> None:
    """What these expressions are for: `increase` is off by more than 1 % on the same past."""
    server, past = filled
    true = truth(past, NOON - 5 * HOUR, NOON)

    reported = server.value(f"sum(increase({NAME}[5h]))", NOON)

    assert reported is not None
    assert abs(reported - true) > 0.01 * true
