"""What keeps Claude Code from running our statusline and hooks although they stand in its settings.

Managed settings, the machine's or the server's, go before everything; a project's own go before the user's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_gauge.claude_code.entries import STATUSLINE
from claude_gauge.claude_code.settings_file import read
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.our_commands import options

MACHINE = Path("/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code")
SERVER = "remote-settings.json"  # beside settings.json: what the server manages, as Claude Code keeps it
_SWITCHES = ("allowManagedHooksOnly", "disableAllHooks")
_NEWEST, _TAIL = 20, 1 << 16


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What was found, and what to do about it."""

    found: str
    advice: str


def obstacles(settings: Path, machine: Path = MACHINE) -> Iterator[Obstacle]:
    """Yield what switches the entries of a user's settings file off: managed settings, and the file itself."""
    for path, content in managed([settings], machine):
        for switch in (name for name in _SWITCHES if content.get(name) is True):
            found = f"managed settings in {path} say {switch}: Claude Code runs neither our hooks nor our statusline"
            yield Obstacle(found, "ask who manages them; without, plan figures and `waiting` stay unknown")
        if _foreign_statusline(content):
            found = f"managed settings in {path} set a statusLine: Claude Code runs that one in place of ours"
            yield Obstacle(found, "ask who manages them; without, plan figures stay unknown")
    if _read(settings).get("disableAllHooks") is True:
        yield Obstacle(f"{settings} says disableAllHooks: neither statusline nor hooks run", "take it out there")


def managed(files: Iterable[Path], machine: Path = MACHINE) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of what goes before these settings files: the machine's managed settings, the server's."""
    for path in (*managed_files(machine), *(file.with_name(SERVER) for file in files)):
        yield path, _read(path)


def managed_files(machine: Path = MACHINE) -> list[Path]:
    """List the machine's managed settings; they need not exist."""
    return [machine / "managed-settings.json", *sorted((machine / "managed-settings.d").glob("*.json"))]


def project_obstacles(projects: Iterable[Path], settings: Path) -> Iterator[Obstacle]:
    """Yield what the projects' own settings put before the user's."""
    for project in projects:
        for path in (project / ".claude" / "settings.json", project / ".claude" / "settings.local.json"):
            if path.exists() and not (settings.exists() and path.samefile(settings)):
                content = _read(path)
                if _foreign_statusline(content):
                    advice = "leave it, or let it run ours: take it out there and run `claude-gauge setup`"
                    yield Obstacle(f"{path} has its own statusLine: no plan figures come from that project", advice)
                if content.get("disableAllHooks") is True:
                    found = f"{path} says disableAllHooks: neither statusline nor hooks run in that project"
                    yield Obstacle(found, "take it out there")


def projects(root: Path, here: Path) -> list[Path]:
    """List the folders that Claude Code was lately used in, by the newest transcripts below `root`, and this one."""
    newest = sorted(root.glob("*/*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)[:_NEWEST]
    used = [folder for folder in map(_folder_of, newest) if folder is not None]
    return list(dict.fromkeys([here, *here.parents, *used]))


def _folder_of(transcript: Path) -> Path | None:
    with transcript.open("rb") as file:
        file.seek(max(0, transcript.stat().st_size - _TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            folder = json.loads(line)["cwd"]
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # half a line, or one without a folder
        if isinstance(folder, str) and folder.startswith("/") and "\0" not in folder:
            return Path(folder)
    return None


def _foreign_statusline(content: Mapping[str, Any]) -> bool:
    line = content.get(STATUSLINE)
    return isinstance(line, dict) and options(line.get("command"), "statusline") is None


def _read(path: Path) -> dict[str, Any]:
    """Read settings of somebody else's; what can't be read switches nothing off that we could tell."""
    try:
        return read(path)
    except GaugeError:
        return {}
