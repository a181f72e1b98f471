"""The counter under each name and label that collectors and engines give it, reported by real ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.sources.otlp.exports import metrics, point
from tests.sources.prometheus.past import KINDS, counted, labels
from tests.support.collector import Collector
from tests.support.net import wait_until
from tests.support.prometheus import NEW, OTLP, VICTORIA, Exporter, Series, Server

from claude_gauge.apps.doctor.sources import prometheus as doctor
from claude_gauge.config import Settings
from claude_gauge.counting.reading import Health, Reading
from claude_gauge.sources.prometheus.client import PrometheusClient
from claude_gauge.sources.prometheus.rules import text
from claude_gauge.sources.prometheus.source import Poll, Prometheus, figures

STRATEGIES = {
    "UnderscoreEscapingWithSuffixes": "claude_code_token_usage_tokens_total",
    "UnderscoreEscapingWithoutSuffixes": "claude_code_token_usage",
    "NoUTF8EscapingWithSuffixes": "claude_code.token.usage_tokens_total",
    "NoTranslation": "claude_code.token.usage",
}
VICTORIAS = {
    "": "claude_code.token.usage",
    "-opentelemetry.usePrometheusNaming": "claude_code_token_usage_tokens_total",
    "-usePromCompatibleNaming": "claude_code_token_usage",
}


def once(server: Server) -> Reading:
    """Ask once."""
    source = Prometheus(Settings(prometheus=server.url))
    source.load()
    return source.read(time.time())


def export(value: int, age_s: float = 60) -> dict[str, object]:
    """One cumulative export of a session with two restarts behind it: four kinds, so many tokens each."""
    now = time.time()
    return metrics(*(point(kind, value, now, start=now - age_s) for kind in KINDS), temporality=2)


def check(server: Server, name: str, send: Callable[[dict[str, object]], None]) -> None:
    """Send a session that grows and is resumed; the publisher counts it, and finds the labels."""
    held = f'sum({{__name__="{name}"}})'  # asked first: it costs much less than to count
    for value, total in ((1000, 4000), (3000, 12_000), (500, 14_000)):
        send(export(value, age_s=60 if value != 500 else 0.01))
        wait_until(lambda v=value: server.value(held) == 4 * v, f"{name} to be scraped")  # type: ignore[misc]
        wait_until(lambda t=total: _block(once(server)) == t, f"{total} tokens as {name}")  # type: ignore[misc]
    reading = once(server)

    assert reading.traffic is not None
    assert reading.traffic.model == "opus"
    assert reading.week_tokens == 14_000
    assert reading.sources["tach"] == Health("prometheus")
    assert server.value(f'count({{__name__="{name}"}})') == 4


def _block(reading: Reading) -> int:
    return reading.block.tokens if reading.block else 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_collectors_names(tmp_path: Path, strategy: str) -> None:
    """All four naming strategies of the collector's exporter, scraped by Prometheus 3, for us and for the rules."""
    rules = tmp_path / "rules.yml"
    rules.write_text(text().replace("interval: 15s", "interval: 1s").replace("interval: 1m", "interval: 1s"))
    own = f"yaml:exporters::prometheus::translation_strategy: {strategy}"
    with (
        Collector(tmp_path / "collector", own) as collector,
        Server(tmp_path / "engine", targets=[collector.target], rules=rules) as server,
    ):
        check(server, STRATEGIES[strategy], collector.send)
        wait_until(lambda: server.value("claude_gauge:window_5h_tokens") == 14_000, "the rules' sum")
        sessions = server.ask("count by (session_id) (claude_gauge:tokens:counter)")

    assert [each["metric"]["session_id"] != "" for each in sessions] == [True]


@pytest.mark.parametrize("flag", VICTORIAS)
def test_victoria_metrics(tmp_path: Path, flag: str) -> None:
    """OTLP straight into VictoriaMetrics, in each of its namings."""
    with Server(tmp_path, VICTORIA, flags=[flag] if flag else []) as server:
        check(server, VICTORIAS[flag], server.send)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES.keys() - {"UnderscoreEscapingWithoutSuffixes"}))  # 3.6 and newer
def test_prometheus_receives_by_itself(tmp_path: Path, strategy: str) -> None:
    """OTLP straight into Prometheus 3, in each of its namings."""
    with Server(tmp_path, OTLP, config={"otlp": {"translation_strategy": strategy}}) as server:
        check(server, STRATEGIES[strategy], server.send)


@pytest.mark.parametrize(
    "name",
    ["claude_code_token_usage", "claude_code_token_usage_total", "team_claude_code_token_usage_tokens_total"],
)
def test_other_names(tmp_path: Path, name: str) -> None:
    """Mimir's name, Claude Code's own exporter's, and a collector's namespace."""
    now = time.time()
    past = [
        Series({**labels("a", kind), "__name__": name}, counted([(now - 1200, 1000), (now - 120, 7)], now + 900))
        for kind in KINDS
    ]
    with Server(tmp_path).fill(past) as server:
        reading = once(server)
        [tokens] = {each.week for each in figures(Settings(prometheus=server.url), time.time())}

    assert _block(reading) == 4 * 1007
    assert tokens == 1007


def test_a_name_that_is_not_known(tmp_path: Path) -> None:
    """A counter that somebody renamed is named, with what to do; never "no Claude Code metrics"."""
    now = time.time()
    past = [Series({**labels("a"), "__name__": "my_claude_tokens"}, counted([(now - 120, 1000)], now + 900))]
    with Server(tmp_path, NEW).fill(past) as server:
        health = once(server).sources["tach"]
        [found] = list(doctor(Settings(source="prometheus", prometheus=server.url)))

    assert health == Health("prometheus", ok=False, why="found as my_claude_tokens")
    assert "rename it" in str(found.advice)
    assert "claude_code_token_usage_tokens_total" in str(found.advice)


def test_two_names_at_once(tmp_path: Path) -> None:
    """While a collector changes its naming both names are counted, though their labels are the same."""
    now = time.time()
    old = [Series(labels("a", kind), counted([(now - 120, 1000)], now + 900)) for kind in KINDS]
    new = [Series({**each.labels, "__name__": "claude_code_token_usage"}, each.samples) for each in old]
    with Server(tmp_path, NEW).fill([*old, *new]) as server:
        reading = once(server)

    assert _block(reading) == 8000


def test_session_that_is_scraped_and_ends(tmp_path: Path) -> None:
    """A series that ended stays counted, though VictoriaMetrics gives a NaN as its last sample, and others go on."""
    with (
        Exporter() as exporter,
        Server(tmp_path, VICTORIA, targets=[exporter.target]) as server,
        closing(PrometheusClient(Settings(prometheus=server.url))) as engine,
    ):
        poll = Poll(engine)

        def week() -> int | None:
            poll.take(time.time())
            return poll.reading(time.time()).week_tokens

        exporter.set(a_output_opus=1000)
        wait_until(lambda: week() == 1000, "the first session")
        exporter.counters.clear()
        wait_until(lambda: not server.ask('{__name__=~"claude_code.*"}'), "its end")
        exporter.set(b_output_opus=20)

        wait_until(lambda: week() == 1020, "the second session")
