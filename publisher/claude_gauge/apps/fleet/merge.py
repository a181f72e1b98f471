"""All nodes' payloads -> the one payload of `claude-gauge/all/usage`; pure.

Rates and tokens add up. What belongs to an account is taken once per account, and of several accounts the one
that is used most is shown, by its label: it is the first that runs dry. Ratios are weighted by each node's rate,
which is exact while all nodes work evenly and near enough else: the payloads do not carry the sums behind them.
"""

from __future__ import annotations

from collections.abc import Sequence

from claude_gauge.apps.fleet.account import account, by_account
from claude_gauge.apps.fleet.member import Member
from claude_gauge.contract.scales import FUEL_WARN
from claude_gauge.contract.usage import FLEET_NODE, MAX_COUNT, Part, Usage, stamp


def merge(members: Sequence[Member], now: float, redline: float) -> Usage:
    """Merge what is known of each node at `now` (epoch seconds); nodes that are not live only count as away."""
    live = [member for member in members if member.live]
    usages = [member.usage for member in live]
    rate = min(MAX_COUNT, sum(usage.rate_1m for usage in usages))
    hot = rate > redline or any(usage.hot for usage in usages)
    accounts = [account(each, now) for each in by_account(live)]
    fuel = max(accounts, key=lambda each: each.share, default=None)
    weeks = [usage.window_7d_tokens for usage in usages if usage.window_7d_tokens is not None]
    waits = [usage.waiting for usage in usages if usage.waiting is not None]
    share = fuel.share if fuel else 0.0
    return Usage(
        rate_1m=round(rate, 3),
        window_5h_tokens=min(MAX_COUNT, sum(usage.window_5h_tokens for usage in usages)),
        window_5h_pct=share,
        thinking_ratio=_weighted(live, "thinking_ratio"),
        cache_hit_rate=_weighted(live, "cache_hit_rate"),
        last_model=_last_model(live),
        hot=hot,
        warn=share > FUEL_WARN or any(usage.warn for usage in usages),
        stall=all(usage.stall for usage in usages),
        idle=all(usage.idle for usage in usages),
        updated_at=stamp(now),
        window_5h_resets_at=fuel.resets_at if fuel else None,
        window_7d_pct=fuel.week_share if fuel else None,
        window_7d_resets_at=fuel.week_resets_at if fuel else None,
        window_7d_tokens=min(MAX_COUNT, sum(weeks)) if weeks else None,
        minutes_to_limit=fuel.minutes if fuel else None,
        limit_before_reset=fuel.runs_dry if fuel else None,
        waiting=any(waits) if waits else None,
        fuel_source=fuel.fuel_source if fuel else None,
        sources={"nodes": _part(members)},
        account=fuel.label if fuel else None,
        node=FLEET_NODE,
        hot_node=_hottest(live) if hot else None,
    )


def _weighted(live: Sequence[Member], ratio: str) -> float:
    """Weigh a ratio by the nodes' rates; while all idle, it is that of the node that worked last."""
    total = sum(member.usage.rate_1m for member in live)
    if total <= 0:
        last = max(live, key=lambda member: member.moved_at, default=None)
        return float(getattr(last.usage, ratio)) if last else 0.0
    weighed: float = sum(getattr(member.usage, ratio) * member.usage.rate_1m for member in live)
    return round(min(1.0, weighed / total), 6)


def _last_model(live: Sequence[Member]) -> str:
    spoken = [member for member in live if member.usage.last_model]
    last = max(spoken, key=lambda m: (m.moved_at, not m.usage.idle, m.usage.updated_at), default=None)
    return last.usage.last_model if last else ""


def _hottest(live: Sequence[Member]) -> str:
    return max(live, key=lambda member: (member.usage.hot, member.usage.rate_1m)).node


def _part(members: Sequence[Member]) -> Part:
    """Say how many nodes the figures hold, and what is wrong with others."""
    live = [member for member in members if member.live]
    silent = sum(not member.live and not member.off for member in members)
    unwell = sum(any(not part.ok for part in member.usage.sources.values()) for member in live)
    words = [f"{silent} silent"] * (silent > 0) + [f"{unwell} unwell"] * (unwell > 0)
    why = ", ".join(words) if live else "no node is on"
    count = "1 node" if len(live) == 1 else f"{len(live)} nodes"
    return Part(source=count, ok=not why, why=why[:28] or None)
