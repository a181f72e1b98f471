"""Rewrites a JSON object's text; every member that did not change keeps its bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    lead: str
    name: str  # the key with its quotes, the colon and the space around it
    value: str
    trail: str = ""  # space before the comma; what stands before the closing brace is the object's own


def parse(text: str) -> dict[str, Any]:
    """Read a JSON object; raises ValueError for anything else and for NaN.

    As Claude Code reads it: an empty text is an empty object, and of a key given twice the last value counts.
    """
    if not text.strip():
        return {}
    try:
        content = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not an object in braces")  # noqa: TRY004 - one kind of error for one kind of trouble
    return content


def values(text: str) -> dict[str, str]:
    """Return the text of each member's value of an object; of a key given twice the last one's."""
    return {member.key: member.value for member in _members(text)[0]} if parse(text) else {}


def rewrite(text: str, content: Mapping[str, Any], written: Mapping[str, str] | None = None) -> str:
    """Return the object `text` changed so that it says `content`, laid out as it was.

    `written` has the text for values that were laid out before; it must say what `content` says.
    """
    old = parse(text)
    members, tail = _members(text) if old else ([], "\n")
    lead = members[-1].lead if members else "\n  "
    layout = _Layout(lead, escaped=text.isascii() and "\\u" in text)
    parts = []
    for key, member in _in_order(members, content):
        value = content[key]
        same = key in old and json.dumps(old[key]) == json.dumps(value)  # 1, 1.0 and True are not the same
        if member is not None and same:
            parts.append(member.lead + member.name + member.value + member.trail)
        elif member is None or member is _last(members, key):  # of a key given twice the last one counts
            place = member or _Member(key, lead, json.dumps(key) + ": ", "")
            parts.append(place.lead + place.name + ((written or {}).get(key) or layout.dump(value)) + place.trail)
    if not text.strip():
        return "{" + ",".join(parts) + (tail if parts else "") + "}\n"
    return text[: text.index("{") + 1] + ",".join(parts) + (tail if parts else "") + text[text.rindex("}") :]


def _in_order(members: list[_Member], content: Mapping[str, Any]) -> Iterator[tuple[str, _Member | None]]:
    """List what is to be written: members as they stood, then new ones; in the content's order where that differs."""
    kept = [member for member in members if member.key in content]
    names = list(dict.fromkeys(member.key for member in kept))
    if list(content)[: len(names)] == names:
        yield from ((member.key, member) for member in kept)
        yield from ((key, None) for key in list(content)[len(names) :])
        return
    for key in content:
        yield key, _last(members, key)


def _last(members: list[_Member], key: str) -> _Member | None:
    return next((member for member in reversed(members) if member.key == key), None)


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


def _members(text: str) -> tuple[list[_Member], str]:
    """Split the text of a valid object into its members and the space before the closing brace."""
    members: list[_Member] = []
    at = text.index("{") + 1
    while True:
        start = _skip(text, at)
        key, end = _DECODER.raw_decode(text, start)
        value = _skip(text, _skip(text, end) + 1)
        _, stop = _DECODER.raw_decode(text, value)
        after = _skip(text, stop)
        last = text[after] == "}"
        members.append(
            _Member(key, text[at:start], text[start:value], text[value:stop], "" if last else text[stop:after])
        )
        if last:
            return members, text[stop:after]
        at = after + 1


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
