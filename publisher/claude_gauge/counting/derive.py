"""A reading, the limits and the time -> the `Usage` that every reader gets; pure, computed once.

A part of the reading drives lamps and limits only while it is current: its source has it and answers. The seed's
fields of a part that is not known keep their last value (the 5-hour window's until it resets), all others are null,
`fuel_source` among them, and `stall` is on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.plan_window import (
    FIVE_HOUR_RESET_S,
    PlanLimit,
    PlanWindow,
    minutes_to_limit,
    resets,
    runs_dry,
    tokens_left,
)
from claude_gauge.contract.scales import FUEL_WARN
from claude_gauge.contract.usage import MAX_COUNT, Part, Usage, stamp
from claude_gauge.counting.reading import Block, Health, Reading, Tach, Traffic

_NOT_PLAIN = re.compile(r"[^ !#-\[\]-~]")
_LATEST = 253_402_300_000.0  # the end of the year 9999: no later time can be written


@dataclass(frozen=True, slots=True)
class Limits:
    """What the figures are compared with, from the settings: tokens, tokens/min, seconds, shares."""

    ceiling_5h: int = 100_000_000
    redline: float = 1_000_000
    stall_s: float = 600
    cache_floor: float | None = None
    tach: Tach = "all"


@dataclass(frozen=True, slots=True)
class _Fuel:
    share: float
    source: Literal["plan", "ceiling"]
    resets_at: float | None
    left: float | None  # tokens, where they can be computed


def derive(  # noqa: PLR0913 - the payload's whole world, each by name
    reading: Reading,
    limits: Limits,
    now: float,
    *,
    node: str | None = None,
    account: str | None = None,
    previous: Usage | None = None,
    tokens_total: int | None = None,
) -> Usage:
    """Compute the payload of one moment.

    `now` is epoch seconds; `previous` is the payload before, or what was kept of one over a restart. Without one,
    what is unknown is at rest. `tokens_total` is copied.
    """
    traffic = reading.traffic if _answers(reading, "tach") else None
    block = reading.block if _answers(reading, "fuel") else None
    fuel, limit = _fuel(reading.plan_5h, block, limits, now), _fullest(reading, now)
    kept = _Kept() if fuel and block and traffic and traffic.model else _Kept.of(previous, now)
    plan_7d = reading.plan_7d if reading.plan_7d and reading.plan_7d.runs(now) else None
    tokens = _count(block.tokens) if block else kept.tokens
    rate = traffic.minute.counted(limits.tach) if traffic else kept.rate
    cache = _cache_hit_rate(traffic) if traffic else kept.cache_hit_rate
    minutes = minutes_to_limit(fuel.left, traffic.minute.total) if fuel and traffic else None
    low_cache = limits.cache_floor is not None and _had_input(traffic) and cache < limits.cache_floor
    return Usage(
        rate_1m=round(min(max(0.0, rate), MAX_COUNT), 3),
        window_5h_tokens=tokens,
        window_5h_pct=fuel.share if fuel else kept.share,
        thinking_ratio=_thinking_ratio(traffic, previous),
        cache_hit_rate=cache,
        last_model=_plain(traffic.model, 24) if traffic and traffic.model else kept.model,
        hot=traffic is not None and rate > limits.redline,
        warn=(fuel is not None and fuel.share > FUEL_WARN) or low_cache or (limit is not None and limit.share >= 1),
        stall=block is None or _stall(reading, traffic, limits, now),
        idle=traffic.minute.total <= 0 if traffic else kept.idle,
        updated_at=stamp(now),
        window_5h_resets_at=_stamp(fuel.resets_at) if fuel else kept.resets_at,
        window_7d_pct=_share(plan_7d.share) if plan_7d else None,
        window_7d_resets_at=_stamp(plan_7d.resets_at if plan_7d else None),
        window_7d_tokens=_week(reading, block, tokens),
        tokens_total=tokens_total,
        minutes_to_limit=minutes,
        limit_before_reset=_limit_before_reset(fuel, traffic, minutes, now),
        waiting=reading.waiting,
        fuel_source=fuel.source if fuel else None,
        limit_name=_plain(limit.name, 24) if limit else None,
        limit_pct=_share(limit.share) if limit else None,
        sources={_plain(name, 8): _part(health) for name, health in list(reading.sources.items())[:4]},
        account=account and _plain(account, 16),
        node=node,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the seed's fields keep of the payload before, while it is not known."""

    rate: float = 0.0
    cache_hit_rate: float = 0.0
    model: str = ""
    idle: bool = True  # no tokens were seen
    tokens: int = 0
    share: float = 0.0
    resets_at: str | None = None

    @classmethod
    def of(cls, usage: Usage | None, now: float) -> _Kept:
        if usage is None:
            return cls()
        kept = cls(usage.rate_1m, usage.cache_hit_rate, usage.last_model, usage.idle)
        reset = seconds(usage.window_5h_resets_at)
        if reset is not None and not resets(reset, now, FIVE_HOUR_RESET_S):
            return kept  # the window is over, or its reset comes from another clock
        return replace(
            kept, tokens=usage.window_5h_tokens, share=usage.window_5h_pct, resets_at=usage.window_5h_resets_at
        )


def _answers(reading: Reading, part: str) -> bool:
    """Return whether a part's source is there; one that is merely degraded is."""
    health = reading.sources.get(part)
    return health is None or health.ok or health.degraded


def _fullest(reading: Reading, now: float) -> PlanLimit | None:
    """Return what stops work first: the fullest limit that the plan reports."""
    windows = {"five_hour": reading.plan_5h, "seven_day": reading.plan_7d}
    running = [PlanLimit(name, each.share, each.resets_at) for name, each in windows.items() if each and each.runs(now)]
    if reading.limit is not None and now < reading.limit.resets_at:  # some, such as a spend limit, run for a month
        running.append(reading.limit)
    return max(running, key=lambda each: each.share, default=None)


def _fuel(plan: PlanWindow | None, block: Block | None, limits: Limits, now: float) -> _Fuel | None:
    """Take the plan's own figure, which holds whatever the sources of tokens do, else the block's tokens / ceiling."""
    if plan is not None and plan.runs(now):
        share = _share(plan.share)
        # The plan's allowance is not reported in tokens; it follows from the block's tokens and the share.
        tokens = block.tokens if block and plan.about(block.end) else 0
        return _Fuel(share, "plan", plan.resets_at, tokens_left(tokens, share))
    if block is None:
        return None
    left = max(0.0, limits.ceiling_5h - block.tokens)
    return _Fuel(_share(block.tokens / limits.ceiling_5h), "ceiling", block.end, left)


def _limit_before_reset(fuel: _Fuel | None, traffic: Traffic | None, minutes: float | None, now: float) -> bool | None:
    if fuel is None or (traffic is None and fuel.share < 1):
        return None
    busy = traffic is not None and traffic.minute.total > 0
    if busy and minutes is None and 0 < fuel.share < 1:
        return None  # there is a pace, but what is left can't be computed
    return runs_dry(fuel.share, minutes, fuel.resets_at, now)


def _week(reading: Reading, block: Block | None, tokens: int) -> int | None:
    """Return the last 7 days' tokens: they hold the block's, also where they were summed a little earlier."""
    if reading.week_tokens is None or block is None:
        return None
    return max(_count(reading.week_tokens), tokens)


def _had_input(traffic: Traffic | None) -> bool:
    five = traffic.five_minutes if traffic else None
    return five is not None and five.input + five.cache_read + five.cache_creation > 0


def _cache_hit_rate(traffic: Traffic) -> float:
    five = traffic.five_minutes
    read = five.input + five.cache_read + five.cache_creation
    return _share(five.cache_read / read) if read > 0 else 0.0


def _thinking_ratio(traffic: Traffic | None, previous: Usage | None) -> float:
    """Return the share of the output whose thinking is known; the last one where none is."""
    if traffic is None or traffic.thinking == "unknown":
        return previous.thinking_ratio if previous else 0.0
    measured = traffic.five_minutes.output - traffic.unmeasured
    return _share(traffic.five_minutes.thinking / measured) if measured > 0 else 0.0


def _stall(reading: Reading, traffic: Traffic | None, limits: Limits, now: float) -> bool:
    """No telemetry for too long, or a source of the tach or the fuel can't be reached."""
    if traffic is None or traffic.newest_at is None:
        return True
    # So far ahead of now it is from before the clock was set back: it does not count.
    if not abs(now - traffic.newest_at) <= limits.stall_s:
        return True
    return any(not health.ok and not health.degraded for health in reading.sources.values())


def _part(health: Health) -> Part:
    return Part(source=_plain(health.source, 16), ok=health.ok, why=_plain(health.why, 28) or None)


def _plain(text: str, longest: int) -> str:
    """Keep to characters that are one byte each in JSON: the payload's size is bounded by theirs."""
    return _NOT_PLAIN.sub("?", text[:longest])


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 6)


def _count(value: float) -> int:
    return round(min(max(0, value), MAX_COUNT))


def _stamp(at: float | None) -> str | None:
    return None if at is None or not abs(at) < _LATEST else stamp(at)
