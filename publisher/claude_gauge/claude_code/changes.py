"""What setup and its undo would change, in every config folder."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from claude_gauge.claude_code import hook_entries, statusline_entry
from claude_gauge.claude_code.ours_spelled import Ours
from claude_gauge.claude_code.settings_file import Change, backups, plan, read
from claude_gauge.errors import GaugeError


def put_in(folders: Iterable[Path], ours: Ours, *, with_statusline: bool, with_hooks: bool) -> list[Change]:
    """Plan what puts our statusline and hooks into the settings of these folders."""
    edits = [functools.partial(statusline_entry.put_in, ours=ours)] if with_statusline else []
    edits += [functools.partial(hook_entries.put_in, ours=ours)] if with_hooks else []

    def edit(content: dict[str, Any]) -> dict[str, Any]:
        for each in edits:
            content = each(content)
        return content

    return [_planned(folder / "settings.json", edit) for folder in folders]


def take_out(folders: Iterable[Path]) -> list[Change]:
    """Plan what takes ours out again, and gives back the very bytes of before where nothing else changed since."""
    changes = [_planned(folder / "settings.json", _without_ours) for folder in folders]
    return [_given_back(change) if change.needed else change for change in changes]


def _planned(path: Path, edit: Any) -> Change:  # noqa: ANN401 - an Edit
    try:
        return plan(path, edit)
    except GaugeError as error:
        text = str(error)
        raise GaugeError(text if str(path) in text else f"{path}: {text}") from None


def _without_ours(content: dict[str, Any]) -> dict[str, Any]:
    return hook_entries.take_out(statusline_entry.take_out(content))


def _given_back(change: Change) -> Change:
    wanted = _without_ours(read(change.path))
    for backup in backups(change.path):
        try:
            if json.dumps(read(backup)) == json.dumps(wanted):
                return dataclasses.replace(change, after=backup.read_bytes())
        except (GaugeError, OSError):
            continue  # somebody's edit of a backup is no concern of ours
    return change if wanted else dataclasses.replace(change, after=None)
