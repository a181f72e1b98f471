"""Text for terminal and log: numbers of things, and foreign text (topics, devices, settings, files, errors) made safe.

Escape sequences (C0, C1) could move the cursor, change the title or hide lines; marks of writing direction could show
a name in another order; marks heaped on one letter cover the lines around it. So what Unicode calls unprintable is
replaced, and of marks on one letter what is beyond those that any language writes.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

_INSTEAD = "?"
_MARKS = 3  # on one letter


def harmless(text: str, *, keep: str = "") -> str:
    """Replace every character that does not print, one for one; `keep` lists those that may stay, such as newlines."""
    shown = "".join(each if each.isprintable() or each in keep else _INSTEAD for each in text)
    return shown if shown.isascii() else "".join(_without_heaps(shown))


def _without_heaps(text: str) -> Iterator[str]:
    marks = 0
    for each in text:
        marks = marks + 1 if unicodedata.category(each) in {"Mn", "Me"} else 0
        yield each if marks <= _MARKS else _INSTEAD


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 folder`, `2,000 folders`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def harmless_json(payload: bytes) -> str:
    """Return JSON that says the same and prints as it is: the very payload, or with escapes where it would not."""
    text = payload.decode()
    return text if harmless(text) == text else json.dumps(json.loads(text), separators=(",", ":"))
