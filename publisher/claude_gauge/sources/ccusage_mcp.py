"""ccusage's MCP server as a source of fuel: legacy, its last version is 18.0.11.

For those who run it anyway, for other agents. Its counts are lower than ccusage 20's: of a response that is
written several times it takes the first line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from claude_gauge import __version__
from claude_gauge.config import Settings
from claude_gauge.reading import Block
from claude_gauge.sources.ccusage_command import CcusageError
from claude_gauge.sources.ccusage_json import OutputError, first_day, parse_block, parse_week

T = TypeVar("T")

NAME = "ccusage-mcp"
PACKAGE = "@ccusage/mcp@18.0.11"
PROTOCOL = "2025-06-18"

Json = dict[str, Any]


class Wire(Protocol):
    """A way to an MCP server."""

    def call(self, method: str, params: Json) -> Json:
        """Ask and return the result; raises CcusageError. Greets the server first where that is needed."""

    def stop(self) -> None:
        """Close it."""


class McpServer:
    """The tools `blocks` and `daily` of a ccusage MCP server."""

    def __init__(self, wire: Wire, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._wire, self._now = wire, now

    def block(self) -> Block:
        """Ask for the active block; yesterday's are asked for too, since a block may begin before midnight."""
        yesterday = self._now().date() - timedelta(days=1)
        return self._tool("blocks", yesterday.strftime("%Y%m%d"), parse_block)

    def week(self, now: float) -> int:
        """Ask for the last 7 calendar days."""
        today = datetime.fromtimestamp(now).astimezone().date()
        return self._tool("daily", first_day(today).strftime("%Y%m%d"), lambda text: parse_week(text, today))

    def stop(self) -> None:
        """Close the connection."""
        self._wire.stop()

    def _tool(self, name: str, since: str, parse: Callable[[str], T]) -> T:
        # Stored costs only: computing them makes the server fetch prices from the network.
        arguments = {"since": since, "mode": "display"}
        result = self._wire.call("tools/call", {"name": name, "arguments": arguments})
        text = _text(result)
        if result.get("isError"):
            raise CcusageError("tool failed", f"ccusage MCP: {name} failed: {text[:120]}")
        try:
            return parse(text)
        except OutputError as error:
            raise CcusageError("unknown output", f"ccusage MCP: {name} {error}") from None


def _text(result: Json) -> str:
    for part in result.get("content") or []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            return str(part["text"])
    return ""


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


def connection(settings: Settings, environ: Mapping[str, str] = os.environ) -> McpServer:
    """Connect to the server that the settings name; without one it is run here, on stdio."""
    from claude_gauge.sources.ccusage_mcp_http import Http  # noqa: PLC0415 - it builds on this file
    from claude_gauge.sources.ccusage_mcp_stdio import Stdio  # noqa: PLC0415 - as above

    return McpServer(Http(settings.ccusage_mcp) if settings.ccusage_mcp else Stdio(environ))
