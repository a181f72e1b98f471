"""Changes Claude Code's settings.json: shows the change, makes a backup, writes atomically, keeps all other bytes.

An edit is a pure function from content to content; it may change what it is given and return it.

    change = change_of(settings_files()[0], lambda content: {**content, "verbose": True})
    print(change.diff())
    write([change], time.time())

Several files change together or not at all. A file that can't be replaced, since it is mounted alone (as into a
container) or has a second name (a hard link), is written in place, after its backup.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import errno
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_gauge.claude_code.json_members import parse, rewrite, values
from claude_gauge.errors import GaugeError
from claude_gauge.system import atomic_file

Edit = Callable[[dict[str, Any]], dict[str, Any]]

_SECRET = re.compile(
    r'("[^"]*(?:key|token(?!s)|secret|passw|auth|header|credential)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE
)
_IN_URL = re.compile(r"://[^/@\s\"]*:[^@\s\"]*@")
_BOM = "\ufeff"
_LONG = 100


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A planned change of one settings file: its content before and after; None means no file."""

    path: Path
    before: bytes | None
    after: bytes | None

    @property
    def needed(self) -> bool:
        """Return whether there is anything to write."""
        return self.before != self.after

    def diff(self) -> str:
        """Show the change as a unified diff, with values that look like secrets masked; empty for none."""
        old, new = ((text or b"").decode().splitlines(keepends=True) for text in (self.before, self.after))
        source, target = ("/dev/null" if text is None else str(self.path) for text in (self.before, self.after))
        lines = _shortened(difflib.unified_diff(old, new, source, target))
        return _IN_URL.sub("://********@", _SECRET.sub(r'\1"********"', "".join(lines)))

    def check(self) -> None:
        """Raise GaugeError if someone else changed the file since it was read."""
        if _bytes(self.path) != self.before:
            raise GaugeError(f"{self.path} was changed by someone else meanwhile; nothing written, run it again")

    def back_up(self, now: float) -> Path | None:
        """Write a backup beside the file; return its path, None if there is no file."""
        if self.before is None:
            return None
        backup = _free_name(self.path, now)
        try:
            atomic_file.create(backup, self.before, stat.S_IMODE(self.path.stat().st_mode))
        except OSError:
            backup.unlink(missing_ok=True)
            raise
        return backup

    def put(self, content: bytes | None) -> None:
        """Make this the file's content; None removes it."""
        real = Path(os.path.realpath(self.path))
        try:
            if content is None:
                real.unlink(missing_ok=True)
            elif real.exists() and real.stat().st_nlink > 1:
                _write_in_place(real, content)
            else:
                atomic_file.replace(real, content)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EXDEV}:
                raise
            _write_in_place(real, content if content is not None else b"{}\n")


def write(changes: Sequence[SettingsChange], now: float) -> list[Path | None]:
    """Make all the changes, or none: where one fails the others are taken back. Return each one's backup.

    Raises GaugeError where a file can't be written, or was changed by someone else since it was read.
    """
    for change in changes:
        change.check()
    done: list[tuple[SettingsChange, Path | None]] = []
    for change in changes:
        try:
            done.append((change, change.back_up(now) if change.needed else None))
            if change.needed:
                change.put(change.after)
        except BaseException as error:  # Ctrl-C, too
            for written, backup in done:
                _take_back(written, backup)
            if not isinstance(error, OSError):
                raise
            raise GaugeError(
                f"cannot write {change.path}: {error.strerror}; nothing was changed, check who may write there"
            ) from None
    return [backup for _, backup in done]


def _take_back(change: SettingsChange, backup: Path | None) -> None:
    try:
        if _bytes(change.path) != change.before:
            change.put(change.before)
    except OSError as error:
        raise GaugeError(f"cannot write {change.path}: {error.strerror}; what it held is in {backup}") from None
    if backup is not None:
        backup.unlink()  # nothing was changed, so there is nothing to go back from


def change_of(path: Path, edit: Edit, written: Mapping[str, str] | None = None) -> SettingsChange:
    """Return the change that `edit` makes to a settings file; raises GaugeError if the file can't be read safely."""
    before = _bytes(path)
    text = _decoded(path, before or b"")
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    content = _parsed(path, text)
    try:
        wanted = edit(copy.deepcopy(content))
        if json.dumps(wanted) == json.dumps(content):  # unlike ==, this sees 1 and True differ, and the order
            return SettingsChange(path, before, before)
        return SettingsChange(path, before, (bom + rewrite(text, wanted, written)).encode())
    except RecursionError:
        raise GaugeError(f"{path} is nested too deeply; left alone") from None
    except GaugeError as error:
        raise GaugeError(f"{path}: {error}") from None


def given_back(change: SettingsChange, edit: Edit, plain: Edit) -> SettingsChange:
    """Return the undo as the original bytes from the backup, if nothing else has changed since.

    `edit` takes ours out; `plain` leaves out what putting ours in loses. A file that would be left with nothing, and
    that no backup shows so, was made by us: it goes.
    """
    if not change.needed:
        return change
    present = read(change.path)
    wanted = edit(copy.deepcopy(present))
    clean = [(path, content) for path, content in _readable(backups(change.path)) if _without(content, edit, plain)]
    for path, content in clean:
        if _same(plain(content), plain(wanted)):
            return dataclasses.replace(change, after=path.read_bytes())
    if clean:  # something else was changed since: the members that were not come back as they stood
        path, content = clean[0]
        back = {name: value for name, value in content.items() if _unchanged(name, content, wanted, plain)}
        written = {name: text for name, text in values(_text(path)).items() if name in back}
        if merged := {**wanted, **back}:
            order = (*present, *merged)
            return change_of(change.path, lambda _: {name: merged[name] for name in order if name in merged}, written)
    return change if wanted else dataclasses.replace(change, after=None)


def _readable(paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in paths:
        try:
            yield path, read(path)
        except GaugeError:
            continue  # a backup that somebody edited is ignored


def _without(content: dict[str, Any], edit: Edit, plain: Edit) -> bool:
    """Return whether nothing of ours is in there."""
    try:
        return _same(plain(edit(copy.deepcopy(content))), plain(content))
    except (GaugeError, RecursionError, AttributeError):
        return False  # as above


def _unchanged(name: str, old: dict[str, Any], new: dict[str, Any], plain: Edit) -> bool:
    return _same(plain({name: old[name]}), plain({name: new[name]} if name in new else {}))


def read(path: Path) -> dict[str, Any]:
    """Return a settings file's content, {} if there is none; raises GaugeError for invalid JSON."""
    return _parsed(path, _text(path))


def backups(path: Path) -> list[Path]:
    """List the backups that were made of a settings file, newest first."""
    return sorted(path.parent.glob(f"{path.name}.before-claude-gauge-*"), reverse=True)


def _shortened(diff: Iterable[str]) -> Iterator[str]:
    """End each line, and leave out a long value that is added several times: one of our commands has twelve hooks."""
    shown: set[str] = set()
    for line in diff:
        name, colon, value = line.rstrip("\n").partition('": "')
        if len(value) > _LONG and line in shown:
            yield f"{name}{colon}…  (as above)\n"
        else:
            yield line.rstrip("\n") + "\n"
        shown.add(line)


def _bytes(path: Path) -> bytes | None:
    try:
        return atomic_file.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GaugeError(f"cannot read {path}: {error.strerror}; check the path and who may read it") from None


def _text(path: Path) -> str:
    return _decoded(path, _bytes(path) or b"").removeprefix(_BOM)


def _decoded(path: Path, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise GaugeError(f"{path} is not UTF-8; left alone, correct it first") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise GaugeError(f"{path} is broken JSON ({error}); left alone, correct it first") from None


def _write_in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # unlike ==: 1 and True differ


def _free_name(path: Path, now: float) -> Path:
    stem = f"{path.name}.before-claude-gauge-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
    names = [stem, *(f"{stem}-{number}" for number in range(1, 100))]
    return next(free for free in map(path.with_name, names) if not free.exists())
