"""ccusage's MCP server as a source of fuel: legacy, its last version is 18.0.11.

For those who run it anyway, for other agents. Its counts are lower than ccusage 20's: of a response that is
written several times it takes the first line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block
from claude_gauge.sources.ccusage.command import CcusageError
from claude_gauge.sources.ccusage.mcp_wire import Http, Json, Stdio
from claude_gauge.sources.ccusage.output import OutputError, first_day, parse_block, parse_week

T = TypeVar("T")

NAME = "ccusage-mcp"


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


def connection(settings: Settings, environ: Mapping[str, str] = os.environ) -> McpServer:
    """Connect to the server that the settings name; without one it is run here, on stdio."""
    return McpServer(Http(settings.ccusage_mcp) if settings.ccusage_mcp else Stdio(environ))
