"""What a source knows at one moment: the sums that `derive` turns into a `Usage`.

A source fills the parts that it can know and leaves the others None: unknown is not zero.
Times are epoch seconds, tokens are counts, shares are 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from claude_gauge.contract.plan_window import PlanLimit, PlanWindow

Tach = Literal["all", "fresh", "output"]
READING_HISTORY = "reading history"  # why a part is not available yet
Thinking = Literal["exact", "estimated", "unknown"]


def earliest(*times: float | None) -> float | None:
    """Return the first of several times, None where none of them is known."""
    return min((time for time in times if time is not None), default=None)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts by kind; `thinking` is the part of `output` that was thought."""

    input: float = 0
    output: float = 0
    cache_read: float = 0
    cache_creation: float = 0
    thinking: float = 0

    @property
    def total(self) -> float:
        """All tokens, each once."""
        return self.input + self.output + self.cache_read + self.cache_creation

    def counted(self, tach: Tach) -> float:
        """Tokens of the kinds that `tach` is set to count."""
        if tach == "output":
            return self.output
        return self.total if tach == "all" else self.total - self.cache_read

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_creation + other.cache_creation,
            self.thinking + other.thinking,
        )

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input - other.input,
            self.output - other.output,
            self.cache_read - other.cache_read,
            self.cache_creation - other.cache_creation,
            self.thinking - other.thinking,
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """The fast part: what TOKENS/MIN (tach), THINKING/OUTPUT (temperature) and CACHE HIT (boost) show.

    `unmeasured` is how much of the five minutes' output has no known thinking.
    """

    minute: Tokens = Tokens()
    five_minutes: Tokens = Tokens()
    thinking: Thinking = "exact"
    model: str = ""
    newest_at: float | None = None
    unmeasured: float = 0


@dataclass(frozen=True, slots=True)
class Block:
    """The current 5-hour block: 0 tokens and no times when none is active."""

    tokens: int = 0
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Which source a part came from, whether it is healthy, and if not, why (a few words, 28 characters at most).

    A source that is not ok lights STALL, unless it is merely `degraded`: slower or less exact, but not old.
    """

    source: str
    ok: bool = True
    why: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a source knows at one moment; `sources` has a `Health` per part: tach, fuel, thinking, plan."""

    traffic: Traffic | None = None
    block: Block | None = None
    week_tokens: int | None = None
    plan_5h: PlanWindow | None = None
    plan_7d: PlanWindow | None = None
    limit: PlanLimit | None = None
    waiting: bool | None = None
    sources: Mapping[str, Health] = field(default_factory=dict)
