"""A reading, the limits and the time -> the `Usage` that every reader gets; pure, computed once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from claude_gauge.contract.usage import MAX_COUNT, Part, Usage, stamp
from claude_gauge.counting.reading import Health, PlanLimit, PlanWindow, Reading, Tach, Traffic

_WARN_AT = 0.8
_MOST_MINUTES = 1e6
_NOT_PLAIN = re.compile(r"[^ !#-\[\]-~]")
_LATEST = 253_402_300_000.0  # the end of the year 9999: no later time can be written
_LONGEST_WINDOW_S = 32 * 86400.0  # a reset further away is garbage
_SAME_WINDOW_S = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the figures are held against, as the settings say: tokens, tokens/min, seconds, shares."""

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
    left: float | None  # tokens, where they can be told


def derive(  # noqa: PLR0913 - the payload's whole world, each by name
    reading: Reading,
    limits: Limits,
    now: float,
    *,
    node: str | None = None,
    account: str | None = None,
    previous: Usage | None = None,
) -> Usage:
    """Compute the payload of one moment.

    `now` is epoch seconds. A part that the reading lacks keeps its value of `previous`, and `stall` tells that it
    is old; without a previous one it is at rest.
    """
    traffic, block = reading.traffic, reading.block
    week = reading.plan_7d if _fresh(reading.plan_7d, now) else None
    fuel, limit = _fuel(reading, limits, now), _fullest(reading, now)
    tokens = block.tokens if block is not None else previous.window_5h_tokens if previous else 0
    rate = traffic.minute.counted(limits.tach) if traffic else previous.rate_1m if previous else 0.0
    cache = _cache_hit_rate(traffic, previous)
    idle = traffic is None or traffic.minute.total <= 0
    minutes = _minutes_to_limit(fuel, traffic)
    share = fuel.share if fuel else previous.window_5h_pct if previous else 0.0
    low_cache = limits.cache_floor is not None and _had_input(traffic) and cache < limits.cache_floor
    return Usage(
        rate_1m=round(min(max(0.0, rate), MAX_COUNT), 3),
        window_5h_tokens=_count(tokens),
        window_5h_pct=_share(share),
        thinking_ratio=_thinking_ratio(traffic, previous),
        cache_hit_rate=cache,
        last_model=_plain(traffic.model, 24) if traffic and traffic.model else previous.last_model if previous else "",
        hot=rate > limits.redline,
        warn=share > _WARN_AT or low_cache or (limit is not None and limit.share >= 1),
        stall=_stall(reading, limits, now),
        idle=idle,
        updated_at=stamp(now),
        window_5h_resets_at=_stamp(fuel.resets_at if fuel else None),
        window_7d_pct=_share(week.share) if week else None,
        window_7d_resets_at=_stamp(week.resets_at if week else None),
        window_7d_tokens=None if reading.week_tokens is None else _count(reading.week_tokens),
        minutes_to_limit=minutes,
        limit_before_reset=_limit_before_reset(fuel, minutes, now, idle=idle),
        waiting=reading.waiting,
        fuel_source=fuel.source if fuel else None,
        limit_name=_plain(limit.name, 24) if limit else None,
        limit_pct=_share(limit.share) if limit else None,
        sources={_plain(name, 8): _part(health) for name, health in list(reading.sources.items())[:4]},
        account=account and _plain(account, 16),
        node=node,
    )


def _fresh(window: PlanWindow | PlanLimit | None, now: float) -> bool:
    """Tell whether a plan's figure still says something: it dies with its window."""
    return window is not None and now < window.resets_at < now + _LONGEST_WINDOW_S


def _fullest(reading: Reading, now: float) -> PlanLimit | None:
    """Return what stops work first: the fullest limit that the plan tells."""
    windows = {"five_hour": reading.plan_5h, "seven_day": reading.plan_7d}
    told = [PlanLimit(name, window.share, window.resets_at) for name, window in windows.items() if window]
    told = [each for each in told if _fresh(each, now)]
    if reading.limit is not None and now < reading.limit.resets_at:  # some, such as a spend limit, run for a month
        told.append(reading.limit)
    return max(told, key=lambda each: each.share, default=None)


def _fuel(reading: Reading, limits: Limits, now: float) -> _Fuel | None:
    block, plan = reading.block, reading.plan_5h
    if plan is not None and _fresh(plan, now):
        share = _share(plan.share)
        # What the plan allows is not told in tokens; the block's tokens and the share together tell it, as long as
        # the block, a local guess, is about the plan's own window.
        same = block is not None and block.end is not None and abs(block.end - plan.resets_at) <= _SAME_WINDOW_S
        tokens = block.tokens if block and same else 0
        left = tokens / share * (1 - share) if share > 0 and tokens > 0 else None
        return _Fuel(share, "plan", plan.resets_at, left)
    if block is None:
        return None
    return _Fuel(
        _share(block.tokens / limits.ceiling_5h), "ceiling", block.end, max(0.0, limits.ceiling_5h - block.tokens)
    )


def _minutes_to_limit(fuel: _Fuel | None, traffic: Traffic | None) -> float | None:
    """At the pace of the last minute, all kinds counted as the window counts them; None when idle or used up."""
    if fuel is None or not fuel.left or traffic is None or traffic.minute.total <= 0:
        return None
    return min(_MOST_MINUTES, max(0.1, round(fuel.left / traffic.minute.total, 1)))


def _limit_before_reset(fuel: _Fuel | None, minutes: float | None, now: float, *, idle: bool) -> bool | None:
    if fuel is None:
        return None
    if fuel.share >= 1:
        return True
    if minutes is None:
        return None if fuel.share > 0 and fuel.left is None and not idle else False
    return None if fuel.resets_at is None else minutes < (fuel.resets_at - now) / 60


def _had_input(traffic: Traffic | None) -> bool:
    five = traffic.five_minutes if traffic else None
    return five is not None and five.input + five.cache_read + five.cache_creation > 0


def _cache_hit_rate(traffic: Traffic | None, previous: Usage | None) -> float:
    if traffic is None:
        return previous.cache_hit_rate if previous else 0.0
    five = traffic.five_minutes
    read = five.input + five.cache_read + five.cache_creation
    return _share(five.cache_read / read) if read > 0 else 0.0


def _thinking_ratio(traffic: Traffic | None, previous: Usage | None) -> float:
    if traffic is None:
        return previous.thinking_ratio if previous else 0.0
    five = traffic.five_minutes
    return _share(five.thinking / five.output) if five.output > 0 else 0.0


def _stall(reading: Reading, limits: Limits, now: float) -> bool:
    """No telemetry for too long, or a source of the tach or the fuel can't be reached."""
    traffic = reading.traffic
    if traffic is None or traffic.newest_at is None:
        return True
    # As far ahead of now as that, it is from before the clock was set back: as good as nothing.
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
