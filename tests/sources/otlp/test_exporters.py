"""The real exporters: JavaScript's, which Claude Code carries, and Python's."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from tests.sources.otlp.exporter import claude_code, go_on, wait_said
from tests.sources.otlp.exports import SESSION
from tests.support.net import PATIENCE_S, free_port, wait_until

from claude_gauge.config import Settings
from claude_gauge.sources.otlp.feed import Otlp

REQUESTS = [{"id": f"req_{n}", "input": 10, "output": 200 + n, "read": 3000, "creation": 40} for n in range(4)]
TRUE = 4 * 3250 + 0 + 1 + 2 + 3


def _source(state: Path, port: int) -> Otlp:
    source = Otlp(Settings(otlp=f"127.0.0.1:{port}", state_dir=state, node="test"))
    source.start(lambda: None)
    return source


def _claude_code(port: int, settings: dict[str, object]) -> subprocess.Popen[str]:
    return claude_code({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}, **settings)


def _week(source: Otlp, ahead_s: float) -> int:
    tokens = source.read(time.time() + ahead_s).week_tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize("form", ["http", "proto"])
@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_javascript(tmp_path: Path, form: str, temporality: str, compression: str) -> None:
    """JavaScript's exporters, JSON and protobuf, plain and compressed (sent in chunks): counted to the token."""
    source = _source(tmp_path, port := free_port())
    settings = {"form": form, "temporality": temporality, "compression": compression, "session": SESSION}
    with _claude_code(port, {**settings, "requests": REQUESTS, "wait_ms": 150}) as claude:
        assert claude.wait(PATIENCE_S) == 0

    assert _week(source, 0) == TRUE
    assert _week(source, 40) == TRUE  # the metrics reported the same tokens, and had their time
    source.stop()


def test_publisher_restarts_under_javascript(tmp_path: Path) -> None:
    """Claude Code's exporter drops what it can't deliver; cumulative counters bring it back, once."""
    source = _source(tmp_path, port := free_port())
    settings = {"form": "http", "temporality": "CUMULATIVE", "compression": "none", "session": SESSION}
    with _claude_code(port, {**settings, "requests": REQUESTS, "wait_ms": 700, "hold": 3}) as claude:
        wait_until(lambda: _week(source, 0) >= 3250, "the first request")
        source.stop()
        wait_said(claude, "req_2")
        source = _source(tmp_path, port)
        go_on(claude)
        assert claude.wait(PATIENCE_S) == 0

    assert _week(source, 40) == TRUE
    source.stop()


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_python_metrics(tmp_path: Path, temporality: AggregationTemporality, compression: Compression) -> None:
    """Python's protobuf exporter, metrics alone: counted to the token; deflate, which we lack, is refused."""
    source = _source(tmp_path, port := free_port())
    exporter = OTLPMetricExporter(
        f"http://127.0.0.1:{port}/v1/metrics", compression=compression, preferred_temporality={Counter: temporality}
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)])
    counter = provider.get_meter("com.anthropic.claude_code").create_counter("claude_code.token.usage")
    for _ in range(3):
        counter.add(40, {"type": "input", "model": "claude-opus-5-5", "session.id": SESSION})
        counter.add(60, {"type": "output", "model": "claude-opus-5-5", "session.id": SESSION})
        provider.force_flush()
    provider.shutdown()

    assert _week(source, 40) == (0 if compression is Compression.Deflate else 300)
    source.stop()
