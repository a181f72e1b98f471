"""Puts our statusline before the person's own one, and gives that one back."""

from __future__ import annotations

from typing import Any

from claude_gauge.claude_code.ours_spelled import Ours
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.our_commands import options

KEY = "statusLine"


def put_in(content: dict[str, Any], ours: Ours) -> dict[str, Any]:
    """Make our command the statusline; the person's own is run by it, its other members stay."""
    present = content.get(KEY)
    if present is None:
        return {**content, KEY: {"type": "command", "command": ours.statusline(None)}}
    if not isinstance(present, dict) or not isinstance(present.get("command"), str):
        raise GaugeError(f"{KEY} holds no command; mend it, or leave it alone with --no-statusline")
    known = options(present["command"], "statusline")
    then = present["command"] if known is None else known.get("--then")
    return {**content, KEY: {**present, "command": ours.statusline(then)}}


def take_out(content: dict[str, Any]) -> dict[str, Any]:
    """Give the person's own statusline back; without one, there is none again. Somebody else's is left alone."""
    present = content.get(KEY)
    if not isinstance(present, dict) or (known := options(present.get("command"), "statusline")) is None:
        return content
    if "--then" in known:
        return {**content, KEY: {**present, "command": known["--then"]}}
    return {name: value for name, value in content.items() if name != KEY}
