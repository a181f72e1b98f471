"""A payload's figures as text: the lines below the gauges, and the rows that `show` prints."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.scales import gauges, short
from claude_gauge.contract.usage import PART_OF, Part, Usage


def details(usage: Usage | None, now: float, columns: int) -> list[str]:
    """Return the figures beside the dials as wrapped lines; unknown ones are left out."""
    if usage is None:
        return []
    lines = [""]
    for item in _items(usage, now):
        joined = f"{lines[-1]}  {item}" if lines[-1] else item
        if len(joined) <= columns:
            lines[-1] = joined
        else:
            lines.append(item)
    return lines


def _items(usage: Usage, now: float) -> list[str]:
    resets, week = seconds(usage.window_5h_resets_at), usage.window_7d_pct
    block = usage.figure("window_5h_tokens")
    return [
        *(["CLAUDE WAITS FOR YOU"] if usage.waiting else []),
        f"block {UNKNOWN if block is None else short(block)} tokens",
        *([f"resets in {span((resets - now) / 60)}"] if resets is not None and resets > now else []),
        *([f"limit in {span(usage.minutes_to_limit)}"] if usage.minutes_to_limit is not None else []),
        *(["DRY BEFORE THE RESET"] if usage.limit_before_reset else []),
        *([f"7 days {percent(week)}"] if week is not None else []),
        *([f"fullest: {fullest(usage)}"] if usage.limit_name and usage.limit_name != "five_hour" else []),
        *([f"fuel by {usage.fuel_source}"] if usage.fuel_source else []),
        *([f"sources: {said}"] if (said := sources(usage)) else []),
    ]


def percent(share: float) -> str:
    """Write a share of 1 as people say it: `42 %`."""
    return f"{math.floor(share * 100 + 0.5)} %"


def fullest(usage: Usage) -> str:
    """Name the fullest of the plan's limits and how full it is: `seven day opus 100 %`."""
    used = "" if usage.limit_pct is None else f" {percent(usage.limit_pct)}"
    return f"{(usage.limit_name or 'unknown').replace('_', ' ')}{used}"


def sources(usage: Usage) -> str:
    """Return where the parts came from and what is wrong, each source once: `all from transcripts`."""
    groups: dict[str, list[str]] = {}
    for name, part in usage.sources.items():
        groups.setdefault(_part(part), []).append(name)
    if len(groups) == 1 and len(usage.sources) > 1:
        return f"all {next(iter(groups))}"
    return "; ".join(f"{', '.join(names)} {text}" for text, names in groups.items())


def _part(part: Part) -> str:
    if part.ok and not part.why:
        return f"from {part.source}"
    return f"({part.source}: {part.why or 'not healthy'})"


def span(minutes: float) -> str:
    """Write a time span as people say it: `51 min`, `2 h 05 min`, `3 d 4 h`."""
    whole = max(1, round(minutes))
    if whole < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{whole} min"
    hours, left = divmod(whole, 60)
    return f"{hours} h {left:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"  # noqa: PLR2004 - two days


def rows(usage: Usage, now: float) -> Iterator[tuple[str, str]]:
    """Yield name and value of each figure as people say them: the dials first, then what is beyond them."""
    dials = gauges(1.0)
    yield dials[0].label, _window(usage.figure("window_5h_pct"), usage.window_5h_resets_at, now)
    if usage.fuel_source == "ceiling":
        yield "", "of a ceiling; `claude-gauge setup` brings the plan's own share, `calibrate` proposes a ceiling"
    for gauge in dials[1:]:
        yield gauge.label, _text(gauge.field, gauge.value(usage), now)
    yield "7-day plan", _window(usage.window_7d_pct, usage.window_7d_resets_at, now)
    yield "Fullest limit", fullest(usage)
    for name, field in type(usage).model_fields.items():
        value = usage.figure(name) if name in PART_OF else getattr(usage, name)
        if name not in _SHOWN_ABOVE and (value is not None or name not in _SELDOM):
            yield str(field.title), _text(name, value, now)
    yield "Sources", sources(usage) or UNKNOWN
    yield "Updated", _text("updated_at", usage.updated_at, now)


UNKNOWN = "unknown"
_SHOWN_ABOVE = {gauge.field for gauge in gauges(1.0)} | {
    "window_5h_resets_at", "window_7d_pct", "window_7d_resets_at", "limit_name", "limit_pct", "sources", "updated_at",
    "schema_version",
}  # fmt: skip
_SELDOM = {"account", "hot_node"}  # of no interest where there is none


def _window(share: float | None, resets_at: str | None, now: float) -> str:
    if share is None:
        return UNKNOWN
    return percent(share) + (f", resets {moment(resets_at, now)}" if resets_at else "")


def moment(stamp: str, now: float) -> str:
    """Return when one of the contract's time stamps is: `in 2 h 05 min`, `3 s ago`."""
    at = seconds(stamp)
    if at is None:
        return stamp
    away = abs(at - now)
    said = f"{away:.0f} s" if away < 60 else span(away / 60)  # noqa: PLR2004 - a minute
    return f"in {said}" if at > now else f"{said} ago"


def _text(name: str, value: object, now: float) -> str:
    """Write a field's value with its unit, which the contract's own schema has."""
    rules = _schema()[name]
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, rules)
    return moment(str(value), now) if rules.get("format") == "date-time" else str(value)


def _number(value: float, rules: Mapping[str, Any]) -> str:
    if rules.get("maximum") == 1:
        return percent(value)
    unit = rules.get("unit", "")
    return span(value) if unit == "min" else f"{value:,.0f} {unit}".rstrip()


@functools.cache
def _schema() -> dict[str, dict[str, Any]]:
    """Return each field's JSON schema; of one that may be null, the other alternative's rules beside its own."""
    properties = Usage.model_json_schema(mode="serialization")["properties"]
    return {name: {**rules.get("anyOf", [{}])[0], **rules} for name, rules in properties.items()}
