"""Text for terminal and log: numbers of things, and foreign text (topics, devices, settings, files, errors) made safe.

Escape sequences (C0, C1) could move the cursor, change the title or hide lines; marks of writing direction could show
a name in another order. One rule: what Unicode calls unprintable is replaced.
"""

from __future__ import annotations

import json

_INSTEAD = "?"
_DELETE = "\x7f"


def harmless(text: str, *, keep: str = "") -> str:
    """Replace every character that does not print, one for one; `keep` lists those that may stay, such as newlines."""
    return "".join(each if each.isprintable() or each in keep else _INSTEAD for each in text)


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 folder`, `2,000 folders`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def harmless_json(payload: bytes) -> str:
    """Return JSON that says the same and prints as it is: the very payload, or with escapes where it would not."""
    text = payload.decode()
    if harmless(text) == text:
        return text
    return json.dumps(json.loads(text), separators=(",", ":")).replace(_DELETE, "\\u007f")
