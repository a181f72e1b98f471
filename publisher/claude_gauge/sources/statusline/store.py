"""Keeps the plan percentages that were seen on disk: a restarted publisher does not fall back to an old terminal's."""

from __future__ import annotations

import json
from pathlib import Path

from claude_gauge.hooks import spool
from claude_gauge.sources.statusline.plan_figures import EMPTY, Book, enter, from_status
from claude_gauge.system import atomic_file

FILE = "plan-seen.json"


def load(state_dir: Path) -> Book:
    """Read the book; an absent or broken one is empty."""
    raw = spool.load(str(state_dir / FILE))
    book = EMPTY
    for slot in EMPTY:
        entries = raw.get(slot)
        for entry in entries if isinstance(entries, list) else []:
            seen = from_status(slot, {slot: [100 * entry[1], entry[0], entry[2]]}) if _sound(entry) else None
            book = enter(book, slot, [seen] if seen else [])
    return book


def save(state_dir: Path, book: Book) -> None:
    """Write the book in one step; raises OSError."""
    entries = {slot: [[seen.resets_at, seen.share, seen.at] for seen in book[slot]] for slot in book}
    atomic_file.replace(state_dir / FILE, json.dumps(entries).encode())


def _sound(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(isinstance(each, int | float) for each in entry)  # noqa: PLR2004
