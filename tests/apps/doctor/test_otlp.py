from __future__ import annotations

import socket
from pathlib import Path

from tests.sources.otlp.receiving import receiving
from tests.support.net import free_port

from claude_gauge.apps.doctor.machine import Check
from claude_gauge.apps.doctor.sources import otlp
from claude_gauge.config import Settings


def _look(address: str, source: str = "otlp") -> list[Check]:
    return list(otlp(Settings.model_validate({"source": source, "otlp": address})))


def test_port_is_free() -> None:
    """A port that is free is reported as such."""
    assert [each.state for each in _look(f"127.0.0.1:{free_port()}")] == ["ok"]


def test_publisher_listens(tmp_path: Path) -> None:
    """A publisher that listens is known by its answer."""
    with receiving(tmp_path) as (source, _):
        (check,) = _look(f"127.0.0.1:{source.port}")

    assert (check.state, "publisher listens" in check.found) == ("ok", True)


def test_something_else_listens() -> None:
    """A port that something else holds is a failure, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        (check,) = _look(f"127.0.0.1:{holder.getsockname()[1]}")

    assert (check.state, "--otlp" in check.advice) == ("fail", True)


def test_not_wanted() -> None:
    """Where nothing is received, nothing is looked for."""
    assert _look("off") == []
    assert list(otlp(Settings(source="transcripts"))) == []
    assert [each.state for each in _look("127.0.0.1:4318", "transcripts")] == ["off"]


def test_collector_beside_prometheus() -> None:
    """`hybrid` with Prometheus leaves the usual port to the collector, so whoever holds it is no fault."""
    assert list(otlp(Settings(source="hybrid", prometheus="http://127.0.0.1:9090"))) == []
