"""Made-up nodes for the fleet's tests."""

from __future__ import annotations

from tests.support.payloads import at_rest

from claude_gauge.apps.fleet.merge import Member, State
from claude_gauge.contract.usage import Usage, stamp

NOW = 1_795_000_000.0


def usage(**changes: object) -> Usage:
    """A payload at rest, changed."""
    return at_rest(**{"updated_at": stamp(NOW), **changes})


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
