"""Puts our hook beside the person's own ones, and takes it out again."""

from __future__ import annotations

from typing import Any

from claude_gauge.claude_code.ours_spelled import Ours, is_ours
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.hook import EVENTS

KEY = "hooks"
TIMEOUT_S = 5


def put_in(content: dict[str, Any], ours: Ours) -> dict[str, Any]:
    """Add our hook to every event that it understands, unless it is there already as it should be."""
    hooks = _checked(content)
    for event, matcher in EVENTS.items():
        wanted: dict[str, Any] = {} if matcher is None else {"matcher": matcher}
        wanted["hooks"] = [{"type": "command", "command": ours.hook(), "timeout": TIMEOUT_S}]
        groups = hooks.get(event, [])
        if [group for group in groups if _has_ours(group)] != [wanted]:
            hooks[event] = [*_without(groups), wanted]
    return {**content, KEY: hooks}


def take_out(content: dict[str, Any]) -> dict[str, Any]:
    """Remove our hook from every event; what held nothing else goes with it."""
    hooks = _checked(content)
    for event in [name for name, groups in hooks.items() if any(map(_has_ours, groups))]:
        hooks[event] = _without(hooks[event])
        if not hooks[event]:
            del hooks[event]
    if hooks or not content.get(KEY):
        return {**content, KEY: hooks} if KEY in content else content
    return {name: value for name, value in content.items() if name != KEY}


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    hooks = content.get(KEY, {})
    if not isinstance(hooks, dict) or not all(isinstance(groups, list) for groups in hooks.values()):
        raise GaugeError(f"{KEY} is not as Claude Code wants it (events, each with a list); mend it first")
    return dict(hooks)


def _entries(group: object) -> list[Any]:
    entries = group.get("hooks") if isinstance(group, dict) else None
    return entries if isinstance(entries, list) else []


def _is_our_entry(entry: object) -> bool:
    return isinstance(entry, dict) and is_ours(entry.get("command"), "hook")


def _has_ours(group: object) -> bool:
    return any(map(_is_our_entry, _entries(group)))


def _without(groups: list[Any]) -> list[Any]:
    kept = []
    for group in groups:
        rest = [entry for entry in _entries(group) if not _is_our_entry(entry)]
        if not _has_ours(group):
            kept.append(group)
        elif rest:
            kept.append({**group, "hooks": rest})
    return kept
