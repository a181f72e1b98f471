"""What is said to an MCP server and what comes back: JSON-RPC, the same on every wire."""

from __future__ import annotations

import json
from typing import Any

from claude_gauge import __version__
from claude_gauge.sources.ccusage.command import CcusageError

PACKAGE = "@ccusage/mcp@18.0.11"
PROTOCOL = "2025-06-18"

Json = dict[str, Any]


def greeting() -> Json:
    """Return the parameters of `initialize`."""
    return {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "claude-gauge", "version": __version__},
    }


def request(number: int | None, method: str, params: Json) -> Json:
    """Write a JSON-RPC request, or without a number a notification."""
    body: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    return body if number is None else {**body, "id": number}


def read_json(text: str | bytes) -> object:
    """Read JSON; None for what is none, such as a log line between the answers."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def result_of(answer: object) -> Json:
    """Take the result out of a JSON-RPC answer."""
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        result: Json = answer["result"]
        return result
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    raise CcusageError("server error", f"ccusage MCP: {str(said or 'an answer of another shape')[:120]}")
