"""`claude-gauge show --all`, against a real Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.sources.prometheus.past import counted, labels
from tests.support.net import PATIENCE_S
from tests.support.prometheus import Series, Server


def show(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, with no publisher about."""
    return subprocess.run(
        [sys.executable, "-m", "claude_gauge", "show", "--broker", "mqtt://127.0.0.1:1", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=dict(os.environ),
    )


def test_show_all(tmp_path: Path) -> None:
    """Tokens, cost, edits and the rest stand below the payload, for people and as JSON."""
    now = time.time()
    kinds = {
        "claude_code_cost_usage_USD_total": {"model": "claude-opus-5-5"},
        "claude_code_commit_count_total": {},
        "claude_code_active_time_seconds_total": {"type": "cli"},
        "claude_code_code_edit_tool_decision_total": {"tool_name": "Edit", "decision": "accept", "language": "Python"},
    }
    past = [Series(labels("a"), counted([(now - 120, 1000)], now + 900))]
    past += [
        Series(
            {"__name__": name, "session_id": "a", **more}, counted([(now - 9 * 3600, 90), (now - 60, 93)], now + 900)
        )
        for name, more in kinds.items()
    ]
    with Server(tmp_path).fill(past) as server:
        reported = show("--all", "--source", "prometheus", "--prometheus", server.url)
        machine = show("--all", "--json", "--source", "prometheus", "--prometheus", server.url)

    assert reported.returncode == 0, reported.stderr
    rows = {line[:44].strip(): line[44:].split() for line in reported.stdout.splitlines()}
    assert rows["tokens (output, claude-opus-5-5)"] == ["1,000", "1,000"]
    assert rows["cost (claude-opus-5-5)"] == ["3.00", "USD", "93.00", "USD"]
    assert rows["commits"] == ["3", "93"]
    assert rows["active_time (cli)"] == ["0.1", "min", "1.6", "min"]
    assert rows["edit_decisions (Edit, accept, Python)"] == ["3", "93"]
    payload, more = map(json.loads, machine.stdout.splitlines())
    assert payload["window_5h_tokens"] == 1000
    assert {figure["metric"]["name"] for figure in more} == {
        "tokens",
        "cost",
        "commits",
        "active_time",
        "edit_decisions",
    }


def test_show_all_without_prometheus() -> None:
    """Where no Prometheus is named the error says what to do."""
    done = show("--all")

    assert done.returncode == 1
    assert "--prometheus" in done.stderr
