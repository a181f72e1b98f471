"""The sums against the truth, sample by sample, in real engines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.sources.prometheus.past import HOUR, NOON, truth, wild
from tests.support.prometheus import NEW, OLD, VICTORIA, Series, Server
from tests.support.prometheus import filled as having

from claude_gauge.config import Settings
from claude_gauge.sources.prometheus.client import PrometheusClient
from claude_gauge.sources.prometheus.promql import TOKENS
from claude_gauge.sources.prometheus.window_sums import WindowSums

WINDOWS = {"minute": 60.0, "five": 300.0, "block": 5 * HOUR, "day": 20 * HOUR}
CASES = [f"case{number}" for number in range(25)]


@pytest.fixture(scope="module", params=[OLD, NEW, VICTORIA])
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
    with closing(PrometheusClient(Settings(prometheus=server.url))) as engine:
        sums = WindowSums(engine, TOKENS, f'case="{case}"', 15)
        found = {at: sums.ask(at, WINDOWS) for at in (NOON, NOON - 1800, NOON - 3 * HOUR)}

    assert {(at, name): sum(each.value for each in found[at][name]) for at in found for name in WINDOWS} == {
        (at, name): truth(own, at - length, at) for at in found for name, length in WINDOWS.items()
    }


def test_the_seeds_query_is_not_exact(filled: tuple[Server, list[Series]]) -> None:
    """What these expressions are for: `increase` is off by more than 1 % on the same past."""
    server, past = filled
    true = truth(past, NOON - 5 * HOUR, NOON)

    told = server.value(f"sum(increase({TOKENS[0]}[5h]))", NOON)

    assert told is not None
    assert abs(told - true) > 0.01 * true
