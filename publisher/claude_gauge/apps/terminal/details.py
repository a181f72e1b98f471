"""The figures below the gauges, as lines of text."""

from __future__ import annotations

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.scales import short
from claude_gauge.contract.usage import Usage


def details(usage: Usage | None, now: float, columns: int) -> list[str]:
    """Return what is known beyond the needles, wrapped at whole items; what is not known is left out."""
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
    unwell = [
        f"{name} ({part.source}{': ' + part.why if part.why else ''})"
        for name, part in usage.sources.items()
        if not part.ok
    ]
    return [
        *(["CLAUDE WAITS FOR YOU"] if usage.waiting else []),
        f"block {short(usage.window_5h_tokens)} tokens",
        *([f"resets in {span((resets - now) / 60)}"] if resets is not None and resets > now else []),
        *([f"limit in {span(usage.minutes_to_limit)}"] if usage.minutes_to_limit is not None else []),
        *(["DRY BEFORE THE RESET"] if usage.limit_before_reset else []),
        *([f"7 days {week * 100:.0f} %"] if week is not None else []),
        *([f"fuel by {usage.fuel_source}"] if usage.fuel_source else []),
        *([f"sources unwell: {', '.join(unwell)}"] if unwell else []),
        *(
            [f"sources: {', '.join(sorted({part.source for part in usage.sources.values()}))}"]
            if usage.sources and not unwell
            else []
        ),
    ]


def span(minutes: float) -> str:
    """Write a time span as people say it: `51 min`, `2 h 14 min`, `3 d 4 h`."""
    whole = max(1, round(minutes))
    if whole < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{whole} min"
    hours, left = divmod(whole, 60)
    return f"{hours} h {left} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"  # noqa: PLR2004 - two days
