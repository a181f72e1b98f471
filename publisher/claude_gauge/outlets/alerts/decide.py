"""Whether a payload is worth an alert: each threshold once per window, and of several passed at once the highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from claude_gauge.contract.believable import FIVE_HOUR_RESET_S, resets
from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.plan_window import same
from claude_gauge.contract.usage import Usage

WINDOW_S = 5 * 3600.0


@dataclass(frozen=True, slots=True)
class Fired:
    """What was told in the present window: the highest threshold, until when it holds, and whose window it is."""

    threshold: float
    ends: float
    source: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that was passed, and the payload that passed it."""

    threshold: float
    usage: Usage
    at: float

    @property
    def text(self) -> str:
        """Say it in a sentence, times on this machine's clock."""
        usage = self.usage
        told = f"{usage.window_5h_pct * 100:.0f} % of the 5-hour window is used"
        reset = seconds(usage.window_5h_resets_at)
        if reset is not None:
            told += f"; it resets at {datetime.fromtimestamp(reset).astimezone():%H:%M}"
        if usage.limit_before_reset and usage.minutes_to_limit is not None:
            told += f"; at this pace it is used up in {usage.minutes_to_limit:.0f} min"
        return told


def decide(
    usage: Usage, thresholds: Sequence[float], fired: Fired | None, now: float
) -> tuple[Alert | None, Fired | None]:
    """Return the alert to tell, if any, and what has been told of this window then (None: nothing)."""
    reset = seconds(usage.window_5h_resets_at)
    if usage.fuel_source is None or (reset is not None and reset <= now):
        return None, fired  # an old figure, kept while the source is away, says nothing of this window
    if reset is not None and not resets(reset, now, FIVE_HOUR_RESET_S):
        reset = None  # no 5-hour window ends so late
    known = _of_this_window(fired, usage.fuel_source, reset, now)
    passed = max((each for each in thresholds if 0 < each <= usage.window_5h_pct), default=0.0)
    if passed <= (known.threshold if known else 0.0):
        return None, known
    ends = known.ends if known else reset or now + WINDOW_S
    return Alert(passed, usage, now), Fired(passed, ends, usage.fuel_source)


def _of_this_window(fired: Fired | None, source: str, reset: float | None, now: float) -> Fired | None:
    """Keep what was told while its window lasts; the plan's own reset is believed over the guess from tokens."""
    if fired is None or not resets(fired.ends, now, FIVE_HOUR_RESET_S):
        return None  # over, or told under a clock that was wrong
    if reset is None:
        return fired
    if source != fired.source:
        return Fired(fired.threshold, reset, source) if source == "plan" else fired
    return None if reset > fired.ends and not same(reset, fired.ends) else fired
