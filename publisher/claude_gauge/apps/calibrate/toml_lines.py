"""Sets values in a TOML file's text and leaves all else, comments above all, as it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping


def set_values(text: str, values: Mapping[str, int]) -> str:
    """Return `text` with these top-level numbers set; raises ValueError where it can't be done for certain."""
    wanted = {**tomllib.loads(text), **values}
    changed = text
    for name, value in values.items():
        changed = _set(changed, name, value)
    if tomllib.loads(changed) != wanted:
        raise ValueError("its layout is too unusual to change by machine")
    return changed


def _set(text: str, name: str, value: int) -> str:
    table = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    top, rest = (text[: table.start()], text[table.start() :]) if table else (text, "")
    line = re.compile(rf"^([ \t]*{name}[ \t]*=[ \t]*)[^\s#]+", re.MULTILINE)
    if line.search(top):
        return line.sub(rf"\g<1>{value}", top, count=1) + rest
    body = top.rstrip("\n")
    gap = top[len(body) :][1:]
    return f"{body}\n{name} = {value}\n{gap}{rest}" if body else f"{name} = {value}\n{top}{rest}"
