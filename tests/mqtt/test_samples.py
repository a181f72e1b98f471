from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome, stamped

SAMPLES = ROOT / "tests" / "samples" / "transcripts" / "print-mode"


def by_hand(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Count tokens per model the slow and obvious way: the largest figure of each response, each response once."""
    figures: dict[tuple[str, str], tuple[str, int]] = {}
    for line in lines:
        if line.get("type") != "assistant" or line.get("isApiErrorMessage"):
            continue
        usage = line["message"]["usage"]
        kinds = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        total = sum(usage[kind] for kind in kinds)
        key = line["message"]["id"], line["requestId"]
        figures[key] = max(figures.get(key, ("", 0)), (line["message"]["model"], total), key=lambda each: each[1])
    models: dict[str, int] = defaultdict(int)
    for model, total in figures.values():
        models[model] += total
    return dict(models)


def test_genuine_transcripts_line_by_line(broker: Mosquitto, tmp_path: Path) -> None:
    """What Claude Code really wrote, appended line by line as of now, arrives as what a hand count gives.

    The samples hold three or four lines per response, subagents' files, API errors and a resumed session's copies.
    """
    claude = ClaudeHome(tmp_path / "claude")
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_NODE="t", CLAUDE_GAUGE_HTTP="off")
    lines: list[dict[str, Any]] = []

    def usage(received: Received) -> dict[str, Any]:
        return dict(json.loads(received.payload)) if received.topic.endswith("/usage") else {}

    with Listener(broker.port, "claude-gauge/#") as listener, Publishing(tmp_path / "run", env=env):
        listener.wait(lambda received: received.topic.endswith("/usage"))
        for path in sorted(SAMPLES.rglob("*.jsonl")):
            for text in path.read_bytes().splitlines():
                record = json.loads(text)
                record["timestamp"] = stamped(time.time())
                claude.append(record, name=str(path.relative_to(SAMPLES / "-home-dev-project")))
                lines.append(record)
        expected = sum(by_hand(lines).values())
        received = listener.wait(lambda received: usage(received).get("window_5h_tokens") == expected)

    assert expected == 163_321
    assert usage(received)["rate_1m"] == expected
