"""Made-up nodes for the fleet's tests."""

from __future__ import annotations

from typing import Any

from claude_gauge.apps.fleet.merge import Member, State
from claude_gauge.contract.usage import Usage, stamp

NOW = 1_795_000_000.0
REST: dict[str, Any] = {
    "rate_1m": 0.0,
    "window_5h_tokens": 0,
    "window_5h_pct": 0.0,
    "thinking_ratio": 0.0,
    "cache_hit_rate": 0.0,
    "last_model": "",
    "hot": False,
    "warn": False,
    "stall": False,
    "idle": True,
    "updated_at": stamp(NOW),
}


def usage(**changes: object) -> Usage:
    """A payload at rest, changed."""
    return Usage.model_validate({**REST, **changes})


def member(
    node: str = "studio",
    *,
    state: State = State.LIVE,
    moved_at: float = 0,
    plan_moved_at: float = 0,
    **changes: object,
) -> Member:
    """A node at rest, changed."""
    return Member(node, usage(**{"node": node, **changes}), state, moved_at, plan_moved_at)
