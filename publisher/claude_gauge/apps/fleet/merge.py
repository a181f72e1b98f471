"""All nodes' payloads -> the one payload of `claude-gauge/all/usage`; pure.

Rates, ratios, the model and the lamps come from the nodes that are on. What was used of a window was used whether the
machine that used it is still on or not: a node that is gone keeps its tokens and its share in the sum until that
window's reset.

What belongs to an account is taken once per account. The plan's own percentage stands for all nodes of the account:
of several, the one that a node reported last. Without one, the shares of the ceiling that each node used add up. Of
several accounts the one that is used most is shown, by its label: it is the first that runs dry.

Ratios are weighted by each node's rate, which is exact while all nodes work evenly and near enough else: the payloads
do not carry the sums behind them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.plan_window import FIVE_HOUR_RESET_S, minutes_to_limit, resets, runs_dry, same, tokens_left
from claude_gauge.contract.scales import FUEL_WARN
from claude_gauge.contract.usage import FLEET_NODE, MAX_COUNT, PART_OF, Part, Usage, stamp


class State(Enum):
    """Whether a node is on, and if not, how it went off."""

    LIVE = "on"
    OFF = "off"  # it said goodbye
    LOST = "lost"  # its connection ended without a goodbye: a crash, a lost network
    SILENT = "silent"  # connected or not, it says nothing: asleep or frozen


@dataclass(frozen=True, slots=True)
class Member:
    """A node's newest payload, its state, and the times (epoch seconds) at which its tokens and plan figures moved."""

    node: str
    usage: Usage
    state: State = State.LIVE
    moved_at: float = 0.0
    plan_moved_at: float = 0.0

    @property
    def live(self) -> bool:
        """Whether its rates and lamps count."""
        return self.state is State.LIVE

    @property
    def pace(self) -> float:
        """Tokens a minute that count against the window, whatever kinds the node's `tach` is set to."""
        left = tokens_left(self.usage.window_5h_tokens, self.usage.window_5h_pct)
        minutes = self.usage.minutes_to_limit
        return left / minutes if left and minutes else self.usage.rate_1m

    def window_runs(self, now: float) -> bool:
        """Return whether what it used of the 5-hour window still counts at `now`."""
        reset = seconds(self.usage.window_5h_resets_at)
        if reset is None:
            return self.live
        return resets(reset, now, FIVE_HOUR_RESET_S)

    def week_runs(self, now: float) -> bool:
        """Return whether its figure of the plan's 7-day window still counts at `now`."""
        reset = seconds(self.usage.window_7d_resets_at)
        if self.usage.window_7d_pct is None or reset is None:
            return self.live and self.usage.window_7d_pct is not None
        return resets(reset, now)

    def limit_runs(self, now: float) -> bool:
        """Return whether the fullest limit that it reported can still be that full: a limit ends with its window."""
        name = self.usage.limit_name or ""
        if self.live or not name.startswith(("five_hour", "seven_day")):
            return True
        return self.window_runs(now) if name.startswith("five_hour") else self.week_runs(now)

    def counts(self, now: float) -> bool:
        """Return whether any of its figures still counts at `now`."""
        return self.live or self.window_runs(now) or self.week_runs(now)


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The figures that are taken once per account."""

    label: str | None
    share: float
    resets_at: str | None
    fuel_source: Literal["plan", "ceiling"] | None
    minutes: float | None
    runs_dry: bool | None
    week_share: float | None
    week_resets_at: str | None
    limit_name: str | None
    limit_share: float | None


def merge(members: Sequence[Member], now: float, redline: float, none: str = "no node is on") -> Usage:
    """Merge the nodes' newest figures at `now` (epoch seconds); `none` says why there is none, in 28 letters."""
    live = [member for member in members if member.live]
    in_window = [member for member in members if member.live or member.window_runs(now)]
    rate = min(MAX_COUNT, sum(member.usage.rate_1m for member in live))
    hot = rate > redline or any(member.usage.hot for member in live)
    accounts = [account(each, now) for each in by_account(member for member in members if member.counts(now))]
    fuel = max(accounts, key=lambda each: each.share, default=None)
    weeks = [m.usage.window_7d_tokens for m in members if m.counts(now) and m.usage.window_7d_tokens is not None]
    tokens = min(MAX_COUNT, sum(member.usage.window_5h_tokens for member in in_window))
    waits = [member.usage.waiting for member in live if member.usage.waiting is not None]
    return Usage(
        rate_1m=round(rate, 3),
        window_5h_tokens=tokens,
        window_5h_pct=fuel.share if fuel else 0.0,
        thinking_ratio=_weighted(live, "thinking_ratio"),
        cache_hit_rate=_weighted(live, "cache_hit_rate"),
        last_model=_last_model(live),
        hot=hot,
        warn=_fuel_is_low(fuel) or any(member.usage.warn for member in live),
        stall=all(member.usage.stall for member in live),
        idle=all(member.usage.idle for member in live),
        updated_at=stamp(now),
        window_5h_resets_at=fuel.resets_at if fuel else None,
        window_7d_pct=fuel.week_share if fuel else None,
        window_7d_resets_at=fuel.week_resets_at if fuel else None,
        window_7d_tokens=max(tokens, min(MAX_COUNT, sum(weeks))) if weeks else None,
        minutes_to_limit=fuel.minutes if fuel else None,
        limit_before_reset=fuel.runs_dry if fuel else None,
        waiting=any(waits) if waits else None,
        fuel_source=fuel.fuel_source if fuel else None,
        limit_name=fuel.limit_name if fuel else None,
        limit_pct=fuel.limit_share if fuel else None,
        sources={"nodes": _part(members, none), **_unknown({"tach": live, "fuel": in_window, "thinking": live})},
        account=fuel.label if fuel else None,
        node=FLEET_NODE,
        hot_node=_hottest(live) if hot else None,
    )


def by_account(members: Iterable[Member]) -> list[list[Member]]:
    """Sort nodes by their account's label; all without one are one account."""
    labelled: dict[str | None, list[Member]] = defaultdict(list)
    for member in members:
        labelled[member.usage.account].append(member)
    return list(labelled.values())


def account(members: Sequence[Member], now: float) -> AccountFigures:
    """Merge the windows of one account's nodes, of which at least one counts at `now`.

    Figures that nodes keep while their sources are away may be the plan's or a ceiling's, so of those only the
    largest counts.
    """
    in_window = [member for member in members if member.window_runs(now)]
    plan = _newest([m for m in in_window if m.usage.fuel_source == "plan"], "window_5h")
    week = _newest([m for m in members if m.week_runs(now)], "window_7d")
    limits = [m for m in members if m.usage.limit_pct is not None and m.limit_runs(now)]
    limit = max(limits, key=lambda m: (m.plan_moved_at, m.usage.limit_pct), default=None)
    ceilings = [member for member in in_window if member.usage.fuel_source == "ceiling"]
    fullest = plan or max(ceilings or in_window, key=lambda m: m.usage.window_5h_pct, default=None)
    add = ceilings and not plan
    share = sum(m.usage.window_5h_pct for m in ceilings) if add else fullest.usage.window_5h_pct if fullest else 0.0
    share = min(1.0, share)
    resets_at = fullest.usage.window_5h_resets_at if fullest else None
    fuel_source = fullest.usage.fuel_source if fullest else None
    pace_is_known = all(_knows_its_pace(member.usage) for member in members if member.live)
    minutes = _minutes(in_window, share) if pace_is_known else None
    return AccountFigures(
        members[0].usage.account,
        round(share, 6),
        resets_at,
        fuel_source,
        minutes,
        runs_dry(share, minutes, seconds(resets_at), now) if fuel_source and (pace_is_known or share >= 1) else None,
        week.usage.window_7d_pct if week else None,
        week.usage.window_7d_resets_at if week else None,
        limit.usage.limit_name if limit else None,
        limit.usage.limit_pct if limit else None,
    )


def _newest(members: Sequence[Member], window: str) -> Member | None:
    """Find the newest figure of the latest window: the one reported last; where that is unknown, the highest."""
    ends = {m.node: seconds(getattr(m.usage, f"{window}_resets_at")) or 0.0 for m in members}
    latest = max(ends.values(), default=0.0)
    present = [m for m in members if same(ends[m.node], latest)]
    return max(present, key=lambda m: (m.plan_moved_at, getattr(m.usage, f"{window}_pct")), default=None)


def _knows_its_pace(usage: Usage) -> bool:
    """Return whether a node's tokens are those of the window; one that works without minutes to the limit lacks it."""
    return usage.fuel_source != "plan" or usage.idle or usage.minutes_to_limit is not None or usage.window_5h_pct >= 1


def _minutes(members: Sequence[Member], share: float) -> float | None:
    """At the pace of all nodes that are on; None when they idle or nothing is left."""
    left = tokens_left(sum(m.usage.window_5h_tokens for m in members), share)
    return minutes_to_limit(left, sum(m.pace for m in members if m.live))


def _fuel_is_low(fuel: AccountFigures | None) -> bool:
    """Return whether WARN is due for the fuel: only a figure that has a source can say so."""
    return fuel is not None and fuel.fuel_source is not None and fuel.share > FUEL_WARN


def _weighted(nodes: Iterable[Member], ratio: str) -> float:
    """Weigh a ratio by the rates of the nodes that know it; while all idle, it is that of the one that worked last."""
    live = [member for member in nodes if member.usage.figure(ratio) is not None]
    total = sum(member.usage.rate_1m for member in live)
    if total <= 0:
        last = max(live, key=lambda member: member.moved_at, default=None)
        return float(getattr(last.usage, ratio)) if last else 0.0
    weighed: float = sum(getattr(member.usage, ratio) * member.usage.rate_1m for member in live)
    return round(min(1.0, weighed / total), 6)


def _unknown(members_of: Mapping[str, Sequence[Member]]) -> dict[str, Part]:
    """Report each part of which no node that counts for it has a figure, so that readers do not take its 0 for one."""
    field_of = {part: field for field, part in reversed(PART_OF.items())}
    return {
        part: Part(source="nodes", ok=False, why="reported by no node")
        for part, members in members_of.items()
        if all(member.usage.figure(field_of[part]) is None for member in members)
    }


def _last_model(live: Sequence[Member]) -> str:
    spoken = [member for member in live if member.usage.last_model]
    last = max(spoken, key=lambda m: (m.moved_at, not m.usage.idle, m.usage.updated_at), default=None)
    return last.usage.last_model if last else ""


def _hottest(live: Sequence[Member]) -> str:
    return max(live, key=lambda member: (member.usage.hot, member.usage.rate_1m)).node


def _part(members: Sequence[Member], none: str) -> Part:
    """Report how many nodes are on, how the others went, and how many of those that are on have an unhealthy source.

    A node that ended in order is no fault; one that is lost or silent is.
    """
    states = Counter(member.state for member in members)
    live = states.pop(State.LIVE, 0)
    unwell = sum(m.live and any(not part.ok for part in m.usage.sources.values()) for m in members)
    words = [f"{states[state]} {state.value}" for state in (State.LOST, State.SILENT, State.OFF) if states[state]]
    words = [f"{unwell} unwell"] * (unwell > 0) + words if live else [none]
    well = live > 0 and not (unwell or states[State.LOST] or states[State.SILENT])
    return Part(source="1 node" if live == 1 else f"{live} nodes", ok=well, why=", ".join(words)[:28] or None)
