"""Rewrites a JSON object's text so that every member that did not change stays as it stood, to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    lead: str
    name: str  # the key with its quotes, the colon and the space around it
    value: str
    trail: str = ""  # space before the comma; what stands before the closing brace is the object's own


def parse(text: str) -> dict[str, Any]:
    """Read a JSON object; raises ValueError for anything else, for a key given twice and for NaN.

    An empty text is an empty object, as it is to Claude Code.
    """
    if not text.strip():
        return {}
    try:
        content = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not an object in braces")  # noqa: TRY004 - one kind of error for one kind of trouble
    return content


def rewrite(text: str, content: Mapping[str, Any]) -> str:
    """Return the object `text` changed so that it says `content`, laid out as it was."""
    old = parse(text)
    members, tail = _members(text) if old else ({}, "\n")
    lead = next(reversed(members.values())).lead if members else "\n  "
    layout = _Layout(lead, escaped=text.isascii() and "\\u" in text)
    parts = []
    for name, value in content.items():
        member = members.get(name) or _Member(lead, json.dumps(name) + ": ", "")
        same = name in members and json.dumps(old[name]) == json.dumps(value)  # 1, 1.0 and True are not the same
        parts.append(member.lead + member.name + (member.value if same else layout.dump(value)) + member.trail)
    if not text.strip():
        return "{" + ",".join(parts) + (tail if parts else "") + "}\n"
    return text[: text.index("{") + 1] + ",".join(parts) + (tail if parts else "") + text[text.rindex("}") :]


@dataclass(frozen=True, slots=True)
class _Layout:
    lead: str
    escaped: bool

    def dump(self, value: object) -> str:
        newline, _, indent = self.lead.rpartition("\n")
        unit = indent if "\n" in self.lead else None
        written = json.dumps(value, indent=unit, ensure_ascii=self.escaped or not _encodable(value))
        return written.replace("\n", ("\r\n" if newline.endswith("\r") else "\n") + indent)


def _encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _members(text: str) -> tuple[dict[str, _Member], str]:
    """Split the text of a valid object into its members and the space before the closing brace."""
    members: dict[str, _Member] = {}
    at = text.index("{") + 1
    while True:
        start = _skip(text, at)
        name, end = _DECODER.raw_decode(text, start)
        value = _skip(text, _skip(text, end) + 1)
        _, stop = _DECODER.raw_decode(text, value)
        after = _skip(text, stop)
        last = text[after] == "}"
        members[name] = _Member(text[at:start], text[start:value], text[value:stop], "" if last else text[stop:after])
        if last:
            return members, text[stop:after]
        at = after + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key given twice: {next(name for name in names if names.count(name) > 1)!r}")
    return content


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
