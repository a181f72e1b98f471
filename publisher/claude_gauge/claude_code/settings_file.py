"""Changes Claude Code's settings.json with care: shown first, backed up, atomic, all else kept to the byte.

An edit is a pure function from content to content; it may change what it is given and return it.

    change = plan(settings_path(os.environ), lambda content: {**content, "verbose": True})
    print(change.diff())
    change.write(time.time())
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_gauge.claude_code.json_members import parse, rewrite
from claude_gauge.errors import GaugeError
from claude_gauge.system import atomic_file

Edit = Callable[[dict[str, Any]], dict[str, Any]]

_SECRET = re.compile(
    r'("[^"]*(?:key|token(?!s)|secret|passw|auth|header|credential)[^"]*"\s*:\s*)"[^"]*"', re.IGNORECASE
)
_BOM = "\ufeff"


def config_dirs(environ: Mapping[str, str]) -> list[Path]:
    """List Claude Code's config folders: the entries of $CLAUDE_CONFIG_DIR, else ~/.claude."""
    named = [entry.strip() for entry in environ.get("CLAUDE_CONFIG_DIR", "").split(",")]
    return [Path(entry).expanduser() for entry in dict.fromkeys(named) if entry] or [Path("~/.claude").expanduser()]


def settings_path(environ: Mapping[str, str]) -> Path:
    """Return the settings file of the first config folder."""
    return config_dirs(environ)[0] / "settings.json"


@dataclass(frozen=True, slots=True)
class Change:
    """What would become of one settings file; None stands for no file."""

    path: Path
    before: bytes | None
    after: bytes | None

    @property
    def needed(self) -> bool:
        """Tell whether there is anything to write."""
        return self.before != self.after

    def diff(self) -> str:
        """Show the change as a unified diff, with values that look like secrets masked; empty for none."""
        old, new = ((text or b"").decode().splitlines(keepends=True) for text in (self.before, self.after))
        source, target = ("/dev/null" if text is None else str(self.path) for text in (self.before, self.after))
        lines = [
            line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(old, new, source, target)
        ]
        return _SECRET.sub(r'\1"********"', "".join(lines))

    def write(self, now: float) -> Path | None:
        """Replace the file in one step and return the backup of what it was; None where there was none.

        Raises GaugeError if someone else changed the file since it was read.
        """
        if not self.needed:
            return None
        try:
            return self._write(now)
        except OSError as error:
            raise GaugeError(f"cannot write {self.path}: {error.strerror}; check who may write there") from None

    def _write(self, now: float) -> Path | None:
        if _bytes(self.path) != self.before:
            raise GaugeError(f"{self.path} was changed by someone else meanwhile; nothing written, run it again")
        backup = None
        if self.before is not None:
            backup = _free_name(self.path, now)
            atomic_file.create(backup, self.before, stat.S_IMODE(self.path.stat().st_mode))
        try:
            self._put()
        except OSError:
            if backup is not None:
                backup.unlink()  # nothing was changed, so there is nothing to go back from
            raise
        return backup

    def _put(self) -> None:
        if self.after is None:
            Path(os.path.realpath(self.path)).unlink()
        else:
            atomic_file.replace(self.path, self.after)


def plan(path: Path, edit: Edit) -> Change:
    """Work out what `edit` would make of a settings file; raises GaugeError where it can't be read safely."""
    before = _bytes(path)
    text = _decoded(path, before or b"")
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    content = _parsed(path, text)
    wanted = edit(copy.deepcopy(content))
    if json.dumps(wanted) == json.dumps(content):  # unlike ==, this tells 1 from True, and sees the order
        return Change(path, before, before)
    return Change(path, before, (bom + rewrite(text, wanted)).encode())


def read(path: Path) -> dict[str, Any]:
    """Return what a settings file says, {} where there is none; raises GaugeError for a broken one."""
    return _parsed(path, _decoded(path, _bytes(path) or b"").removeprefix(_BOM))


def backups(path: Path) -> list[Path]:
    """List the backups that were made of a settings file, newest first."""
    return sorted(path.parent.glob(f"{path.name}.before-claude-gauge-*"), reverse=True)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GaugeError(f"cannot read {path}: {error.strerror}; check the path and who may read it") from None


def _decoded(path: Path, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise GaugeError(f"{path} is not UTF-8; left alone, mend it first") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise GaugeError(f"{path} is broken JSON ({error}); left alone, mend it first") from None


def _free_name(path: Path, now: float) -> Path:
    stem = f"{path.name}.before-claude-gauge-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
    names = [stem, *(f"{stem}-{number}" for number in range(1, 100))]
    return next(free for free in map(path.with_name, names) if not free.exists())
