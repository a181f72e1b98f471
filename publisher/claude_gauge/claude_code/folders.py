"""Claude Code's folders and settings files, and what keeps our entries there from taking effect."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_gauge.claude_code.entries import STATUSLINE
from claude_gauge.claude_code.settings_file import read
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.entry import options


def config_dirs(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the config folders that may hold transcripts: $CLAUDE_CONFIG_DIR (a comma list), else both defaults."""
    home = _home(environ)
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "claude"
    return _distinct(_listed(environ) or [xdg, home / ".claude"])


def transcript_roots(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders below which transcripts lie; they need not exist yet."""
    return _distinct([folder if folder.name == "projects" else folder / "projects" for folder in config_dirs(environ)])


def settings_files(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return Claude Code's settings files: of each folder of $CLAUDE_CONFIG_DIR, else of ~/.claude.

    A file that several folders share, by a link or a mount, is named once.
    """
    files = [folder / "settings.json" for folder in _distinct(_listed(environ) or [_home(environ) / ".claude"])]
    return _distinct(files, _identity)


def _listed(environ: Mapping[str, str]) -> list[Path]:
    named = [part.strip() for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",")]
    return [Path(_expanded(part, environ)) for part in named if part]


def _expanded(folder: str, environ: Mapping[str, str]) -> str:
    """Turn a leading `~` into the home; a shell leaves it alone in `CLAUDE_CONFIG_DIR=a,~/b` and in quotes."""
    if folder == "~" or folder.startswith("~/"):
        return f"{_home(environ)}{folder[1:]}"
    return os.path.expanduser(folder)  # noqa: PTH111 - Path.expanduser raises for a user that is not there


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - as above


def _distinct(paths: Iterable[Path], identity: Callable[[Path], object] = os.path.realpath) -> list[Path]:
    """Drop paths that lead to the same file or folder as an earlier one, so that none is read or changed twice."""
    distinct: dict[object, Path] = {}
    for path in paths:
        distinct.setdefault(identity(path), path)
    return list(distinct.values())


def _identity(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:
        return os.path.realpath(file)
    return (status.st_dev, status.st_ino)


MACHINE = Path("/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code")
SERVER = "remote-settings.json"  # beside settings.json: what the server manages, as Claude Code keeps it
_SWITCHES = ("allowManagedHooksOnly", "disableAllHooks")
_NEWEST, _TAIL = 20, 1 << 16


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps our entries from taking effect, and what to do about it."""

    problem: str
    advice: str


def obstacles(settings: Path, machine: Path = MACHINE) -> Iterator[Obstacle]:
    """Yield what disables the entries of a user's settings file: managed settings, or the file itself."""
    for path, content in managed([settings], machine):
        for switch in (name for name in _SWITCHES if content.get(name) is True):
            problem = f"managed settings in {path} say {switch}: Claude Code runs neither our hooks nor our statusline"
            yield Obstacle(problem, "ask who manages them; without, plan figures and `waiting` stay unknown")
        if _foreign_statusline(content):
            problem = f"managed settings in {path} set a statusLine: Claude Code runs that one in place of ours"
            yield Obstacle(problem, "ask who manages them; without, plan figures stay unknown")
    if _read(settings).get("disableAllHooks") is True:
        yield Obstacle(f"{settings} says disableAllHooks: neither statusline nor hooks run", "remove it there")


def managed(files: Iterable[Path], machine: Path = MACHINE) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of the settings that override these files: the machine's and the server's managed ones."""
    for path in (*managed_files(machine), *(file.with_name(SERVER) for file in files)):
        yield path, _read(path)


def managed_files(machine: Path = MACHINE) -> list[Path]:
    """List the machine's managed settings; they need not exist."""
    return [machine / "managed-settings.json", *sorted((machine / "managed-settings.d").glob("*.json"))]


def project_obstacles(projects: Iterable[Path], settings: Path) -> Iterator[Obstacle]:
    """Yield the projects' own settings that override the user's."""
    for project in projects:
        for path in (project / ".claude" / "settings.json", project / ".claude" / "settings.local.json"):
            if path.exists() and not (settings.exists() and path.samefile(settings)):
                content = _read(path)
                if _foreign_statusline(content):
                    advice = "leave it, or let it run ours: remove it there and run `claude-gauge setup`"
                    yield Obstacle(f"{path} has its own statusLine: no plan figures come from that project", advice)
                if content.get("disableAllHooks") is True:
                    problem = f"{path} says disableAllHooks: neither statusline nor hooks run in that project"
                    yield Obstacle(problem, "remove it there")


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
    """Read settings that are not ours; an unreadable file counts as empty."""
    try:
        return read(path)
    except GaugeError:
        return {}
