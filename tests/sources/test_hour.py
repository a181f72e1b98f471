from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sources.hour import first_lines, measure, script, truth
from tests.support.transcripts import ClaudeHome


def test_one_hour_through_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted hour gives the same figures through every source, but for what that source can't know."""
    home = ClaudeHome(tmp_path / "claude")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home.folder))
    now = math.floor(time.time())  # a source that asks in whole seconds has seen the last scrape, whenever it asks
    acts = script(now)
    found = measure(acts, now, tmp_path, home)
    all_reported = truth(acts, now)
    telemetry = replace(all_reported, thinking=None)
    transcripts = truth(acts, now, compaction=False)
    fuel = replace(transcripts, minute=None, thinking=None, cache=None, model=None)
    lower_block, lower_week = first_lines(acts, now)
    lower = replace(fuel, block=lower_block, week=lower_week)

    assert found == {
        "transcripts": transcripts,
        "ccusage 20.0.24": fuel,
        "ccusage 18.0.11": lower,
        "ccusage MCP 18.0.11": lower,
        "OTLP events": telemetry,
        "OTLP delta metrics": telemetry,
        "OTLP events + delta": telemetry,
        "OTLP cumulative metrics": telemetry,
        "OTLP events + cumulative": telemetry,
        "transcripts + OTLP": all_reported,
        "Prometheus": telemetry,
    }
