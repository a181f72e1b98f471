"""Describes what a pydantic field accepts and its default, for help, completion and errors.

It is read off the field's type and bounds; `words` says it where these can't.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


def words(takes: str = "", default: str = "") -> dict[str, Any]:
    """Return arguments for a Field that say what it takes, and its default, where its type and its value don't."""
    said = {"takes": takes, "default_shown": default}
    return {"json_schema_extra": {name: text for name, text in said.items() if text}}


def takes(field: FieldInfo) -> str:
    """Return what a field takes: `a number greater than 0`."""
    types = _types(field.annotation)
    rules = [each for part in (field, *types) for each in getattr(part, "metadata", getattr(part, "__metadata__", ()))]
    if said := _said("takes", (field, *rules)):
        return said
    if only := choices(field):
        return ", ".join(f"'{word}'" for word in only[:-1]) + f" or '{only[-1]}'"
    for kind, text in ((int, "a whole number"), (float, "a number"), (Path, "a path")):
        if kind in types:
            many = "one or more, with commas between, each " if tuple in types else ""
            return f"{many}{text}{''.join(_bounds(rules))}"
    return f"a text{''.join(_bounds(rules))}"


def default_shown(field: FieldInfo) -> str:
    """Return a field's default; empty where there is none."""
    default = field.get_default()
    return _said("default_shown", (field,)) or ("" if default in (None, (), "", PydanticUndefined) else str(default))


def choices(field: FieldInfo) -> tuple[str, ...]:
    """List the words that a field takes, where it takes nothing else."""
    return next((get_args(each) for each in _types(field.annotation) if get_origin(each) is Literal), ())


def holds(field: FieldInfo, kind: type) -> bool:
    """Return whether a type is a field's own or part of it."""
    return kind in _types(field.annotation)


def _types(annotation: object) -> list[object]:
    """List all types within an annotation, itself included."""
    parts = () if get_origin(annotation) is Literal else get_args(annotation)
    return [annotation, get_origin(annotation), *(each for part in parts for each in _types(part))]


def _said(name: str, places: Iterable[object]) -> str:
    extras = (getattr(each, "json_schema_extra", None) for each in places)
    return next((str(extra[name]) for extra in extras if isinstance(extra, Mapping) and name in extra), "")


def _bounds(rules: Iterable[object]) -> Iterator[str]:
    for rule in rules:
        for name, text in (("gt", " greater than {}"), ("ge", " from {}"), ("le", " up to {}")):
            if getattr(rule, name, None) is not None:
                yield text.format(getattr(rule, name))
        if (longest := getattr(rule, "max_length", None)) is not None:
            yield f" of at most {longest} characters"
