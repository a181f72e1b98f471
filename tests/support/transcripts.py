"""Writes transcripts as Claude Code does: compact JSON, whole lines, its own keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KINDS = (10, 100, 1000, 50)  # tokens of a line unless set otherwise: input, output, cache read, cache creation
SAMPLE = sum(KINDS)  # of one response as the tests make it


def stamped(at: float) -> str:
    """Write epoch seconds as Claude Code does."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def assistant(  # noqa: PLR0913 - each key of a line, by name
    at: float,
    number: int,
    *,
    model: str = "claude-opus-5-5",
    tokens: tuple[int, int, int, int] = KINDS,
    thinking: int | None = 20,
    sidechain: bool = False,
    **more: Any,  # noqa: ANN401 - any key of the line
) -> dict[str, Any]:
    """Make an assistant's line; `tokens` are input, output, cache read, cache creation."""
    usage: dict[str, Any] = {
        "input_tokens": tokens[0],
        "cache_creation_input_tokens": tokens[3],
        "cache_read_input_tokens": tokens[2],
        "output_tokens": tokens[1],
    }
    if thinking is not None:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    message = {
        "id": f"msg_{number:06}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "done"}],
        "usage": usage,
    }
    return {
        "isSidechain": sidechain,
        "message": message,
        "requestId": f"req_{number:06}",
        "type": "assistant",
        "uuid": f"uuid-{number:06}",
        "timestamp": stamped(at),
        "sessionId": "session",
        **more,
    }


def denied(at: float, *, kind: str = "user-rejected", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Make the line of a tool call that was not let run."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": "a secret"}
    message = {"role": "user", "content": [result]}
    line = {"type": "user", "message": message, "timestamp": stamped(at), "toolDenialKind": kind}
    return {**line, "sessionId": "session", **more}


def encoded(*records: dict[str, Any]) -> bytes:
    """Return the records as whole lines."""
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in records)


class ClaudeHome:
    """A Claude Code config folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "projects" / "-home-dev-project"
        self.project.mkdir(parents=True)

    def append(self, *records: dict[str, Any], name: str = "session.jsonl") -> Path:
        """Append whole lines in one write, as Claude Code does."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(encoded(*records))
        return path
