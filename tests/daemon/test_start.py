"""A start on hours of unbroken use: what is half read drives nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.publisher import Publishing, call, environment
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.contract.usage import Usage

TOPIC = "claude-gauge/busy/usage"
FILES, LINES, EVERY_S = 24, 120, 15.0  # 12 hours in files of half an hour
PADDING = [{"type": "text", "text": "x" * 8000}]  # 23 MB in all


def _unbroken(claude: ClaudeHome, now: float) -> None:
    for file in range(FILES):
        records = []
        for line in range(LINES):
            number = file * LINES + line
            record = assistant(now - 60 - (FILES * LINES - number) * EVERY_S, number)
            record["message"]["content"] = PADDING
            records.append(record)
        claude.append(*records, name=f"s{file}.jsonl")


def _exact(received: Received) -> bool:
    if received.topic != TOPIC or received.retained:
        return False
    usage = Usage.model_validate_json(received.payload)
    return usage.sources["fuel"].ok and usage.window_7d_tokens is not None


def test_nothing_rings_while_history_is_read(tmp_path: Path, broker: Mosquitto) -> None:
    """Each payload shows the exact block or does not claim to know it; a restart shows the last one from the start."""
    claude, reported = ClaudeHome(tmp_path / "claude"), tmp_path / "reported"
    _unbroken(claude, time.time())
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    env["CLAUDE_GAUGE_NODE"] = "busy"
    truth = json.loads(call("show", "--json", env=env).stdout)["window_5h_tokens"]
    flags = ["--alerts", "0.5", "--alert-command", f"touch {reported}", "--ceiling-5h", str(int(truth / 0.4))]
    starts = []
    for start in range(2):
        with Listener(broker.port, TOPIC) as listener, Publishing(tmp_path / f"{start}", *flags, env=env) as running:
            listener.wait(_exact)
            running.end()
            starts.append([Usage.model_validate_json(received.payload) for received in listener.messages])
    payloads = [usage for start in starts for usage in start]

    assert {usage.window_5h_tokens for usage in payloads if usage.fuel_source is not None} == {truth}
    assert not any(usage.warn or usage.limit_before_reset for usage in payloads)
    assert not reported.exists()
    assert {usage.window_5h_pct for usage in starts[1]} == {0.4}
