"""The entries that `setup` adds to Claude Code's settings, and their removal by `setup --undo`.

Statusline: ours runs first, then the person's own one, which is part of our command (`hooks/entry`). Hooks: ours stands
beside the person's own ones in each event. Whatever an older version put in is replaced. After an undo the file has the
very bytes of before `setup`, where nothing else was changed since.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import claude_gauge
from claude_gauge.claude_code.settings_file import SettingsChange, change_of, given_back
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.entry import options, spell
from claude_gauge.hooks.hook import EVENTS

STATUSLINE, HOOKS = "statusLine", "hooks"
TIMEOUT_S = 5

Content = dict[str, Any]


def program() -> tuple[str, str]:
    """Return the absolute paths of the interpreter and the file that start this program.

    Links are kept: the interpreter of a virtual environment is a link.
    """
    return sys.executable, str(Path(claude_gauge.__file__).with_name("__main__.py"))


def is_fleeting(paths: Iterable[str]) -> bool:
    """Return whether the program is in a cache (`uvx`, `pipx run`), which may delete it."""
    return any(not {".cache", "Caches"}.isdisjoint(Path(path).parts) for path in paths)


@dataclass(frozen=True, slots=True)
class Ours:
    """Our commands: which program, writing to which state folder."""

    program: tuple[str, str]
    state_dir: str

    def statusline(self, then: str | None) -> str:
        """Return the statusline's command, which runs `then` afterwards."""
        return spell(self.program, "statusline", self.state_dir, then)

    def hook(self) -> str:
        """Return the hooks' command."""
        return spell(self.program, "hook", self.state_dir)


def put_in(files: Iterable[Path], ours: Ours, *, with_statusline: bool, with_hooks: bool) -> list[SettingsChange]:
    """Return the changes that add our statusline and hooks to these settings files."""

    def edit(content: Content) -> Content:
        content = add_statusline(content, ours) if with_statusline else content
        return add_hooks(content, ours) if with_hooks else content

    return [change_of(file, edit) for file in files]


def take_out(files: Iterable[Path]) -> list[SettingsChange]:
    """Return the changes that remove our entries from these settings files."""
    return [given_back(change_of(file, without_ours), without_ours, _empties_gone) for file in files]


def without_ours(content: Content) -> Content:
    """Return the settings as they would be without us."""
    return _without_hooks(_without_statusline(content))


def add_statusline(content: Content, ours: Ours) -> Content:
    """Make our command the statusline; the person's own is run by it, its other members stay."""
    present = content.get(STATUSLINE)
    if present is None:
        return {**content, STATUSLINE: {"type": "command", "command": ours.statusline(None)}}
    if not isinstance(present, dict) or not isinstance(present.get("command"), str):
        raise GaugeError(f"{STATUSLINE} holds no command; correct it, or leave it alone with --no-statusline")
    given = options(present["command"], "statusline")
    then = present["command"] if given is None else given.get("--then")
    return {**content, STATUSLINE: {**present, "command": ours.statusline(then)}}


def _without_statusline(content: Content) -> Content:
    """Restore the person's own statusline, or none if there was none. Another tool's is not changed."""
    present = content.get(STATUSLINE)
    if not isinstance(present, dict) or (given := options(present.get("command"), "statusline")) is None:
        return content
    if "--then" in given:
        return {**content, STATUSLINE: {**present, "command": given["--then"]}}
    return {name: value for name, value in content.items() if name != STATUSLINE}


def add_hooks(content: Content, ours: Ours) -> Content:
    """Add our hook to every event that it understands, and take what older versions put elsewhere out."""
    hooks = _checked(content)
    _clear(hooks, [event for event in hooks if event not in EVENTS])
    for event, matcher in EVENTS.items():
        wanted: Content = {} if matcher is None else {"matcher": matcher}
        wanted["hooks"] = [{"type": "command", "command": ours.hook(), "timeout": TIMEOUT_S}]
        groups = hooks.get(event, [])
        if [group for group in groups if _has_ours(group)] != [wanted]:
            hooks[event] = [*_without(groups), wanted]
    return {**content, HOOKS: hooks}


def _without_hooks(content: Content) -> Content:
    """Remove our hook from every event; what held nothing else goes with it."""
    hooks = _checked(content)
    _clear(hooks, list(hooks))
    if hooks or not content.get(HOOKS):
        return {**content, HOOKS: hooks} if HOOKS in content else content
    return {name: value for name, value in content.items() if name != HOOKS}


def _clear(hooks: dict[str, list[Any]], events: Iterable[str]) -> None:
    """Remove our hook from these events, and an event that then has none."""
    for event in [each for each in events if any(map(_has_ours, hooks[each]))]:
        hooks[event] = _without(hooks[event])
        if not hooks[event]:
            del hooks[event]


def _empties_gone(content: Content) -> Content:
    """Drop empty entries that adding ours would replace: an event without hooks, a null statusline."""
    hooks = {event: groups for event, groups in content.get(HOOKS, {}).items() if groups}
    kept = {name: value for name, value in content.items() if name != HOOKS and (name != STATUSLINE or value)}
    return {**kept, **({HOOKS: hooks} if hooks else {})}


def _checked(content: Content) -> dict[str, list[Any]]:
    hooks = content.get(HOOKS, {})
    if not isinstance(hooks, dict) or not all(isinstance(groups, list) for groups in hooks.values()):
        raise GaugeError(f"{HOOKS} is not as Claude Code wants it (events, each with a list); correct it first")
    return dict(hooks)


def _entries(group: object) -> list[Any]:
    entries = group.get("hooks") if isinstance(group, dict) else None
    return entries if isinstance(entries, list) else []


def _is_our_entry(entry: object) -> bool:
    return isinstance(entry, dict) and options(entry.get("command"), "hook") is not None


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
