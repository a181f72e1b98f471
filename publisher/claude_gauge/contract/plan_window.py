"""Which times and counts are accepted, and when plan windows are the same, run dry or end: one rule for all inputs.

Shares are 0..1 of a window, tokens are counts, times epoch seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

AHEAD_S = 120.0  # a clock that is right may be this far ahead of ours; what is further ahead did not happen yet
FIVE_HOUR_RESET_S = 5.25 * 3600.0  # a 5-hour window ends no later than this from now: 15 minutes for the clocks
SEVEN_DAY_RESET_S = 8 * 86400.0
MOST_TOKENS = 10**12  # in one response, or in one report


def happened(at: float, now: float) -> bool:
    """Return whether something can have happened at `at`."""
    return 0 < at <= now + AHEAD_S  # false for what is no number


def resets(at: float, now: float, longest_s: float = SEVEN_DAY_RESET_S) -> bool:
    """Return whether a window that still runs can end at `at`; `longest_s` is FIVE_HOUR_RESET_S for a 5-hour one."""
    return now < at <= now + longest_s


def tokens(count: float) -> bool:
    """Return whether a count can be one of tokens: finite, not negative, not absurd."""
    return 0 <= count <= MOST_TOKENS


def whole_tokens(value: object) -> int | None:
    """Return a foreign JSON value as a count of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if tokens(value) else None


class Refused:
    """Counts refused figures by reason, and says when that is worth a log line."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._digits: Counter[str] = Counter()  # of each count when it was last logged

    def add(self, why: str, count: int = 1) -> None:
        """Count some."""
        if count:
            self._counts[why] += count

    def counts(self) -> dict[str, int]:
        """Return how many were refused, by reason."""
        return dict(self._counts)

    def news(self) -> str:
        """Return all that was refused when a reason's count has one more digit than in the last log line, else ""."""
        digits = Counter({why: len(str(count)) for why, count in self._counts.items()})
        if digits == self._digits:
            return ""
        self._digits = digits
        return str(self)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {why}" for why, count in self._counts.most_common())


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
        """Return whether the window still runs at `now`; its figure ends with it."""
        return resets(self.resets_at, now)

    def about(self, resets_at: float | None) -> bool:
        """Return whether a block that ends then, a local guess, is about this window."""
        return resets_at is not None and abs(resets_at - self.resets_at) <= NEAR_BLOCK_S


@dataclass(frozen=True, slots=True)
class PlanLimit:
    """The fullest of all limits that the plan reports, by its own name (`five_hour`, `seven_day_opus`, ...)."""

    name: str
    share: float
    resets_at: float


def same(one: float, other: float) -> bool:
    """Return whether two reset times are those of one window."""
    return abs(one - other) <= SAME_WINDOW_S


def tokens_left(tokens: float, share: float) -> float | None:
    """Return how many tokens are left where `tokens` are that share; None where the two do not suffice."""
    return tokens / share * (1 - share) if share > 0 and tokens > 0 else None


def minutes_to_limit(left: float | None, rate: float) -> float | None:
    """Return how long `left` tokens last at `rate` tokens/min; None when idle, used up or not known, never 0."""
    if not left or rate <= 0:
        return None
    return min(MOST_MINUTES, max(_LEAST_MINUTES, round(left / rate, 1)))


def runs_dry(share: float, minutes: float | None, resets_at: float | None, now: float) -> bool | None:
    """Return whether a window is used up before it resets; None where its reset is not known.

    `minutes` is None where nothing is being used.
    """
    if share >= 1:
        return True
    if minutes is None:
        return False
    return None if resets_at is None else minutes < (resets_at - now) / 60
