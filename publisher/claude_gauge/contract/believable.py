"""Which times and counts of others are believed, one rule for every door through which foreign figures come.

Transcripts, telemetry, the plan's figures, payloads of other nodes and files of our own all bear times and counts that
some other clock or program made. A single one that is far off must not move a needle, take over a window, or silence
what comes after it. What is refused is counted and told, by `Refused`.

All times are epoch seconds.
"""

from __future__ import annotations

from collections import Counter

AHEAD_S = 120.0  # a clock that is right may be this far ahead of ours; what is further ahead did not happen yet
FIVE_HOUR_RESET_S = 5.25 * 3600.0  # a 5-hour window ends no later than this from now: 15 minutes for the clocks
SEVEN_DAY_RESET_S = 8 * 86400.0
RESETS = {"five_hour": FIVE_HOUR_RESET_S, "seven_day": SEVEN_DAY_RESET_S}
MOST_TOKENS = 10**12  # in one response, or told at once


def happened(at: float, now: float) -> bool:
    """Tell whether something can have happened at `at`."""
    return 0 < at <= now + AHEAD_S  # false for what is no number


def resets(at: float, now: float, longest_s: float = SEVEN_DAY_RESET_S) -> bool:
    """Tell whether a window that still runs can end at `at`; `longest_s` is FIVE_HOUR_RESET_S for a 5-hour one."""
    return now < at <= now + longest_s


def tokens(count: float) -> bool:
    """Tell whether a count can be one of tokens: finite, not negative, not absurd."""
    return 0 <= count <= MOST_TOKENS


def whole_tokens(value: object) -> int | None:
    """Return a foreign JSON value as a count of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if tokens(value) else None


class Refused:
    """Counts what was not believed, by reason, and says when that is worth a line in the log."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._digits: Counter[str] = Counter()  # of each count when it was told last

    def add(self, why: str, count: int = 1) -> None:
        """Count some."""
        if count:
            self._counts[why] += count

    def counts(self) -> dict[str, int]:
        """Return how many were refused, by reason."""
        return dict(self._counts)

    def news(self) -> str:
        """Return all that was refused when a reason's count has one more digit than at the last telling, else ""."""
        digits = Counter({why: len(str(count)) for why, count in self._counts.items()})
        if digits == self._digits:
            return ""
        self._digits = digits
        return str(self)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {why}" for why, count in self._counts.most_common())
