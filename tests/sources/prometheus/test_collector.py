"""The whole road for real: genuine exports -> our collector's configuration -> Prometheus -> the source."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.sources.otlp.exports import metrics, point, samples
from tests.support.collector import Collector
from tests.support.net import wait_until
from tests.support.prometheus import Server
from tests.support.web import answering

from claude_gauge.config import Settings
from claude_gauge.sources.prometheus.source import Prometheus
from claude_gauge.sources.prometheus.source import figures as all_figures

OUTPUT = re.compile(r'^claude_code_token_usage_tokens_total\{[^}]*type="output"[^}]*\} (\S+)', re.MULTILINE)
OWN = (Path(__file__).parent / "samples/own-exporter.txt").read_text()


def shown(collector: Collector) -> list[float]:
    """Return every output counter that the collector shows."""
    return [float(value) for value in OUTPUT.findall(collector.page())]


def send_all(collector: Collector, name: str) -> None:
    """Send a captured session, metrics and events."""
    for path, body in samples(name):
        collector.send(body, path)


@contextmanager
def asking(server: Server) -> Iterator[Prometheus]:
    """A source that asks ten times a second."""
    source = Prometheus(Settings(prometheus=server.url, prometheus_interval=0.1))
    source.start(lambda: None)
    try:
        yield source
    finally:
        source.stop()


def block_tokens(source: Prometheus) -> int | None:
    """Return the block's tokens."""
    block = source.read(time.time()).block
    return None if block is None else block.tokens


def wait_for(source: Prometheus, tokens: int) -> None:
    """Wait until the block has these tokens."""
    wait_until(lambda: block_tokens(source) == tokens, f"{tokens} tokens, not {block_tokens(source)}")


@pytest.mark.parametrize("name", ["json_cumulative", "json_delta"])
def test_genuine_session(tmp_path: Path, name: str) -> None:
    """A session of 220 and 77 output tokens shows 297, whether it was exported as sums or as deltas."""
    with Collector(tmp_path) as collector:
        send_all(collector, name)
        values = wait_until(lambda: [value for value in shown(collector) if value == 297], "297")

    assert values == [297]


def test_the_seeds_collector_loses_deltas(tmp_path: Path) -> None:
    """Why deltatocumulative is there: without it the last delta, 77, stands in place of the sum."""
    with Collector(tmp_path, without="deltatocumulative") as collector:
        send_all(collector, "json_delta")
        wait_until(lambda: 77 in shown(collector), "the last delta")

        assert shown(collector) == [77]


def test_without_session_ids_sessions_overwrite_each_other(tmp_path: Path) -> None:
    """Why the session id is asked for: without it, of two sessions only the one that exported last is seen."""
    now = time.time()
    with Collector(tmp_path) as collector:
        for value, since in ((1000, 60), (30, 50)):
            collector.send(metrics(point("output", value, now, start=now - since, session=None), temporality=2))
        wait_until(lambda: shown(collector), "a value")

        assert 1030 not in shown(collector)


def test_many_short_sessions(tmp_path: Path) -> None:
    """Forty sessions, many alive for one scrape only, one after the other and at once: not a token is lost."""
    total = 0
    with (
        Collector(tmp_path / "collector") as collector,
        Server(tmp_path / "engine", targets=[collector.target]) as server,
        asking(server) as source,
    ):
        for number in range(40):
            now, session = time.time(), f"00000000-0000-4000-8000-{number:012}"
            kinds = {"input": 10, "output": 100 + number, "cacheRead": 1000, "cacheCreation": 1}
            points = [point(kind, value, now, session=session) for kind, value in kinds.items()]
            collector.send(metrics(*points, temporality=2))
            total += sum(kinds.values())
            if number % 10 == 9:
                wait_for(source, total)
        reading = source.read(time.time())

    assert reading.traffic is not None
    assert reading.traffic.model == "opus"
    assert reading.week_tokens == total


def test_a_session_goes_on_and_is_resumed(tmp_path: Path) -> None:
    """A counter grows, then its session is resumed by a new process and counts from 0: all is added up."""
    with (
        Collector(tmp_path / "collector") as collector,
        Server(tmp_path / "engine", targets=[collector.target]) as server,
    ):
        source = Prometheus(Settings(prometheus=server.url, prometheus_interval=1))
        source.start(lambda: None)
        born = time.time() - 10
        try:
            for value, sum_ in ((5000, 5000), (9000, 9000), (40, 9040), (100, 9100)):
                began = born if value > 1000 else time.time() - 0.1
                born = began if value < 1000 else born
                collector.send(metrics(point("output", value, time.time(), start=began), temporality=2))
                wait_for(source, sum_)
        finally:
            source.stop()


RESUMED = [(15_401 + 37 * number, 0.05) for number in range(40)]  # what each process of one session used


def test_a_day_of_resumed_processes(tmp_path: Path) -> None:
    """Forty processes of one session, some gone before a scrape, all with deltas: not a token is lost."""
    total = sum(tokens for tokens, _ in RESUMED)
    with (
        Collector(tmp_path / "collector") as collector,
        Server(tmp_path / "engine", targets=[collector.target]) as server,
        asking(server) as source,
    ):
        for tokens, lived_s in RESUMED:
            now = time.time()
            collector.send(metrics(point("output", tokens, now, start=now - lived_s), temporality=1))
        wait_for(source, total)
        reading = source.read(time.time())

    assert reading.week_tokens == total
    assert reading.sources["tach"].ok


def test_why_not_cumulative(tmp_path: Path) -> None:
    """The same day with sums: each process overwrites the one before, and what no scrape saw is lost."""
    with Collector(tmp_path / "collector") as collector:
        for tokens, lived_s in RESUMED:
            now = time.time()
            collector.send(metrics(point("output", tokens, now, start=now - lived_s), temporality=2))
        wait_until(lambda: RESUMED[-1][0] in shown(collector), "the last process")

        assert shown(collector) == [RESUMED[-1][0]]


def test_the_collector_is_started_again(tmp_path: Path) -> None:
    """A collector that forgot all shows living sessions again with their next export: nothing counts twice."""
    collector = Collector(tmp_path / "collector")
    with Server(tmp_path / "engine", targets=[collector.target]) as server, asking(server) as source:
        begun = time.time() - 60
        with collector:
            collector.send(metrics(point("output", 700, time.time(), start=begun), temporality=2))
            wait_for(source, 700)
        with collector:
            collector.send(metrics(point("output", 705, time.time(), start=begun), temporality=2))
            wait_for(source, 705)


def test_claude_codes_own_exporter(tmp_path: Path) -> None:
    """Claude Code scraped directly: other names, same figures."""
    with (
        answering(200, "text/plain; version=0.0.4; charset=utf-8", OWN.encode()) as exporter,
        Server(tmp_path, targets=[exporter]) as server,
        asking(server) as source,
    ):
        wait_for(source, 9 + 220 + 12_000 + 350)
        figures = {figure.metric.name: figure for figure in all_figures(Settings(prometheus=server.url), time.time())}

    assert figures["cost"].five_hours == pytest.approx(0.008736)
    assert figures["sessions"].week == 1
    assert figures["tokens"].labels == ("output", "claude-opus-5-5")


def test_all_metrics_of_a_session(tmp_path: Path) -> None:
    """Cost, sessions and active time of genuine sessions, with a subagent's model apart."""
    with (
        Collector(tmp_path / "collector") as collector,
        Server(tmp_path / "engine", targets=[collector.target]) as server,
        asking(server) as source,
    ):
        send_all(collector, "json_cumulative")
        send_all(collector, "json_agent")
        wait_for(source, 25_191 + 36_751)
        figures = all_figures(Settings(prometheus=server.url), time.time())

    values = {(figure.metric.name, *figure.labels): round(figure.five_hours, 7) for figure in figures}
    assert values["cost", "claude-opus-5-5"] == 0.013666
    assert values["cost", "claude-haiku-5-5"] == 0.0001695
    assert values["cost", "claude-sonnet-5-5"] == 0.0046785
    assert values["sessions",] == 2
    assert values["active_time", "cli"] == pytest.approx(4.781 + 1.167)
