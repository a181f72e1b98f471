"""What ccusage 17 to 20 print as JSON → the current block and the last days' tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from claude_gauge.counting.reading import Block

DAYS = 7


class OutputError(Exception):
    """Output that is none of ccusage's."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


M = TypeVar("M", bound=_Model)


class _Block(_Model):
    start_time: AwareDatetime
    end_time: AwareDatetime
    is_active: bool = False
    is_gap: bool = False
    total_tokens: int | None = None
    token_counts: Mapping[str, int] = {}


class _Day(_Model):
    date: date
    total_tokens: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0


class _Blocks(_Model):
    blocks: list[_Block]


class _Daily(_Model):
    daily: list[_Day]


def parse_block(text: str | bytes) -> Block:
    """Take the active block out of `blocks --json`; an empty one where none is active."""
    blocks = _model(_Blocks, text).blocks
    active = next((block for block in blocks if block.is_active and not block.is_gap), None)
    if active is None:
        return Block()
    tokens = sum(active.token_counts.values()) if active.total_tokens is None else active.total_tokens
    return Block(max(0, tokens), active.start_time.timestamp(), active.end_time.timestamp())


def parse_week(text: str | bytes, today: date) -> int:
    """Sum the last 7 calendar days, today among them, out of `daily --json`."""
    if _value(text) == []:
        return 0  # as 17 to 19 say that there is nothing
    since = first_day(today)
    return sum(_tokens(day) for day in _model(_Daily, text).daily if since <= day.date <= today)


def first_day(today: date) -> date:
    """Tell the first of the last 7 calendar days."""
    return today - timedelta(days=DAYS - 1)


def _tokens(day: _Day) -> int:
    if day.total_tokens is not None:
        return max(0, day.total_tokens)
    return day.input_tokens + day.output_tokens + day.cache_creation_tokens + day.cache_read_tokens


def _value(text: str | bytes) -> object:
    try:
        value: object = from_json(text)
    except ValueError:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise OutputError(f"printed no JSON: {shown.strip()[:80]!r}") from None
    return value


def _model(model: type[M], text: str | bytes) -> M:
    try:
        return model.model_validate(_value(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutputError(f"printed JSON of another shape: {where}: {first['msg']}") from None
