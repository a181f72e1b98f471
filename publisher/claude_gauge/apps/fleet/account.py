"""One account's windows, as its nodes tell them: a plan's figure is the whole account's, tokens are each node's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from claude_gauge.apps.fleet.member import Member, left
from claude_gauge.contract.freshness import seconds

SAME_WINDOW_S = 600.0  # two nodes' stamps of one reset differ by less
MOST_MINUTES = 1e6


@dataclass(frozen=True, slots=True)
class Account:
    """The figures that are taken once per account."""

    label: str | None
    share: float
    resets_at: str | None
    fuel_source: Literal["plan", "ceiling"] | None
    minutes: float | None
    runs_dry: bool | None
    week_share: float | None
    week_resets_at: str | None


def by_account(members: Iterable[Member]) -> list[list[Member]]:
    """Sort nodes by their account's label; all without one are one account."""
    found: dict[str | None, list[Member]] = defaultdict(list)
    for member in members:
        found[member.usage.account].append(member)
    return list(found.values())


def account(members: Sequence[Member], now: float) -> Account:
    """Merge the windows of one account's nodes.

    The plan's own figure stands for all nodes; without one, the shares of the ceiling that each node used add up.
    Figures that nodes keep while their sources are away may be either, so of those only the largest counts.
    """
    plan = _newest([m for m in members if m.usage.fuel_source == "plan"], "window_5h")
    week = _newest([m for m in members if m.usage.window_7d_pct is not None], "window_7d")
    guesses = [m for m in members if m.usage.fuel_source == "ceiling"]
    fullest = plan or max(guesses or members, key=lambda m: m.usage.window_5h_pct)
    add = guesses and not plan
    share = min(1.0, sum(m.usage.window_5h_pct for m in guesses)) if add else fullest.usage.window_5h_pct
    known = all(map(_knows_its_pace, members))
    minutes = _minutes(members, share) if known else None
    resets_at = fullest.usage.window_5h_resets_at
    fuel_source = fullest.usage.fuel_source
    return Account(
        members[0].usage.account,
        round(share, 6),
        resets_at,
        fuel_source,
        minutes,
        _runs_dry(share, minutes, resets_at, now) if fuel_source and (known or share >= 1) else None,
        week.usage.window_7d_pct if week else None,
        week.usage.window_7d_resets_at if week else None,
    )


def _newest(members: Sequence[Member], window: str) -> Member | None:
    """Find the newest figure: of the latest window the highest share, for within a window it only grows."""
    resets = {m.node: seconds(getattr(m.usage, f"{window}_resets_at")) or 0.0 for m in members}
    latest = max(resets.values(), default=0.0)
    same = [m for m in members if resets[m.node] > latest - SAME_WINDOW_S]
    return max(same, key=lambda m: getattr(m.usage, f"{window}_pct"), default=None)


def _knows_its_pace(member: Member) -> bool:
    """Tell whether a node's tokens are those of the window: one that works and names no minutes knows that not."""
    usage = member.usage
    return usage.fuel_source != "plan" or usage.idle or usage.minutes_to_limit is not None or usage.window_5h_pct >= 1


def _minutes(members: Sequence[Member], share: float) -> float | None:
    """At the pace of all nodes together; None when they idle or nothing is left."""
    tokens = left(sum(m.usage.window_5h_tokens for m in members), share)
    pace = sum(m.pace for m in members)
    if not tokens or pace <= 0:
        return None
    return min(MOST_MINUTES, max(0.1, round(tokens / pace, 1)))


def _runs_dry(share: float, minutes: float | None, resets_at: str | None, now: float) -> bool | None:
    if share >= 1:
        return True
    if minutes is None:
        return False
    reset = seconds(resets_at)
    return None if reset is None else minutes < (reset - now) / 60
