"""Transcripts as Claude Code writes them, for what reads them from outside."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path


def line(at: float, number: int, *, tokens: int = 1000, thinking: int = 5, **more: object) -> str:
    """One assistant line: `tokens` cache reads, 10 in, 20 out, 100 cache creation; separators as ccusage wants them."""
    usage = {
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_input_tokens": tokens,
        "cache_creation_input_tokens": 100,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": []}
    record = {
        "type": "assistant",
        "timestamp": stamp,
        "sessionId": "s1",
        "requestId": f"req_{number}",
        "version": "2.1.330",
        "uuid": f"u{number}",
        "message": message | {"usage": usage},
    }
    return json.dumps(record | more, separators=(",", ":")) + "\n"


def write(config_dir: Path, *lines: str, session: str = "s1") -> Path:
    """Append lines to a session's transcript below a config folder."""
    path = config_dir / "projects" / "-home-dev-project" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(lines))
    return path
