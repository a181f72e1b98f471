"""What the plan's windows mean, one rule for the node, the fleet, the alerts and the statusline's figures.

Shares are 0..1 of a window, tokens are counts, times epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from claude_gauge.contract.believable import resets

SAME_WINDOW_S = 15 * 60.0  # reset times of one window were seen to differ by 10 minutes; those of two differ by hours
NEAR_BLOCK_S = 3600.0  # a block is a guess that starts at a full hour; nearer than this it is about the plan's window
MOST_MINUTES = 1e6
_LEAST_MINUTES = 0.1


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """One of the plan's windows: how much of it is used, and when it resets."""

    share: float
    resets_at: float

    def runs(self, now: float) -> bool:
        """Tell whether the figure still says something: it dies with its window."""
        return resets(self.resets_at, now)

    def about(self, resets_at: float | None) -> bool:
        """Tell whether a block that ends then, a local guess, is about this window."""
        return resets_at is not None and abs(resets_at - self.resets_at) <= NEAR_BLOCK_S


@dataclass(frozen=True, slots=True)
class PlanLimit:
    """The fullest of all limits that the plan tells, by its own name (`five_hour`, `seven_day_opus`, ...)."""

    name: str
    share: float
    resets_at: float


def same(one: float, other: float) -> bool:
    """Tell whether two reset times are those of one window."""
    return abs(one - other) <= SAME_WINDOW_S


def tokens_left(tokens: float, share: float) -> float | None:
    """Return how many tokens are left where `tokens` are that share; None where the two tell nothing."""
    return tokens / share * (1 - share) if share > 0 and tokens > 0 else None


def minutes_to_limit(left: float | None, rate: float) -> float | None:
    """Return how long `left` tokens last at `rate` tokens/min; None when idle, used up or not known, never 0."""
    if not left or rate <= 0:
        return None
    return min(MOST_MINUTES, max(_LEAST_MINUTES, round(left / rate, 1)))


def runs_dry(share: float, minutes: float | None, resets_at: float | None, now: float) -> bool | None:
    """Tell whether a window is used up before it resets; None where its reset is not known.

    `minutes` is None where nothing is being used.
    """
    if share >= 1:
        return True
    if minutes is None:
        return False
    return None if resets_at is None else minutes < (resets_at - now) / 60
