"""Whether a payload is worth an alert: each threshold once per window, and of several passed at once the highest.

The plan's other limits (`seven_day_opus`, `spend_limit`, …) have the same thresholds, each limit by itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.plan_window import FIVE_HOUR_RESET_S, resets, same
from claude_gauge.contract.usage import Usage
from claude_gauge.counting.sums import FIVE_HOURS_S
from claude_gauge.system.atomic_file import StateFile

log = logging.getLogger(__name__)

FIVE_HOUR_LIMIT = "five_hour"  # the limit that the fuel gauge shows
RESET = 0.1  # a limit that fell by so much was reset


@dataclass(frozen=True, slots=True)
class Fired:
    """What was sent in the present window: the highest threshold, until when it holds, and whose window it is."""

    threshold: float
    ends: float
    source: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that was passed, and the payload that passed it; `limit`: by another limit than the 5-hour window."""

    threshold: float
    usage: Usage
    at: float
    limit: bool = False

    @property
    def text(self) -> str:
        """Return the alert as a sentence, with times on this machine's clock."""
        usage = self.usage
        fullest = f"{(usage.limit_pct or 0) * 100:.0f} % of the limit {usage.limit_name} is used"
        if self.limit:
            return fullest
        text = f"{usage.window_5h_pct * 100:.0f} % of the 5-hour window is used"
        reset = seconds(usage.window_5h_resets_at)
        if reset is not None:
            text += f"; it resets at {datetime.fromtimestamp(reset).astimezone():%H:%M}"
        if usage.limit_before_reset and usage.minutes_to_limit is not None:
            text += f"; at this pace it is used up in {usage.minutes_to_limit:.0f} min"
        return f"{text}; {fullest}" if _other_limit(usage) > usage.window_5h_pct else text


def _other_limit(usage: Usage) -> float:
    """Return the share of the fullest limit, unless it is the 5-hour window itself or not known."""
    return 0.0 if usage.limit_name in {None, FIVE_HOUR_LIMIT} else usage.limit_pct or 0.0


def decide_limit(
    usage: Usage, thresholds: Sequence[float], sent: Mapping[str, float], now: float
) -> tuple[Alert | None, Mapping[str, float]]:
    """Return the alert that the fullest limit is worth, if any, and the threshold last sent of each limit."""
    share, name = _other_limit(usage), usage.limit_name
    if name is None or share <= 0:
        return None, sent
    before = sent.get(name, 0.0)
    passed = max((each for each in thresholds if 0 < each <= share), default=0.0)
    if passed > before:
        return Alert(passed, usage, now, limit=True), {**sent, name: passed}
    return None, {**sent, name: passed} if share < before - RESET else sent


def decide(
    usage: Usage, thresholds: Sequence[float], fired: Fired | None, now: float
) -> tuple[Alert | None, Fired | None]:
    """Return the alert to send, if any, and what has then been sent for this window (None: nothing)."""
    reset = seconds(usage.window_5h_resets_at)
    if usage.fuel_source is None or (reset is not None and reset <= now):
        return None, fired  # a figure kept while the source is away is no news of this window
    if reset is not None and not resets(reset, now, FIVE_HOUR_RESET_S):
        reset = None  # no 5-hour window ends so late
    last = _of_this_window(fired, usage.fuel_source, reset, now)
    passed = max((each for each in thresholds if 0 < each <= usage.window_5h_pct), default=0.0)
    if passed <= (last.threshold if last else 0.0):
        return None, last
    ends = last.ends if last else reset or now + FIVE_HOURS_S
    return Alert(passed, usage, now), Fired(passed, ends, usage.fuel_source)


def _of_this_window(fired: Fired | None, source: str, reset: float | None, now: float) -> Fired | None:
    """Keep what was sent while its window lasts; the plan's own reset goes before the guess from tokens."""
    if fired is None or not resets(fired.ends, now, FIVE_HOUR_RESET_S):
        return None  # over, or sent while the clock was wrong
    if reset is None:
        return fired
    if source != fired.source:
        return Fired(fired.threshold, reset, source) if source == "plan" else fired
    return None if reset > fired.ends and not same(reset, fired.ends) else fired


class Memory:
    """What was sent, in two small files per node; where the disk fails an alert may come twice."""

    def __init__(self, state_dir: Path, node: str) -> None:
        lost = "after a restart an alert may come twice"
        self._file = StateFile(state_dir / f"{node}.alerts.json", lost)
        self._limits_file = StateFile(state_dir / f"{node}.limit-alerts.json", lost)

    def load(self, now: float) -> Fired | None:
        """Return what was sent before this start (`now`: epoch seconds), where that is plausible."""
        fired = self._file.read(_fired)
        if fired and not (0 < fired.threshold <= 1 and fired.ends <= now + FIVE_HOUR_RESET_S):
            log.warning("%s: written while the clock was wrong, or garbage: ignored", self._file.path)
            return None
        return fired

    def load_limits(self) -> Mapping[str, float]:
        """Return the threshold that was last sent for each of the plan's other limits."""
        return self._limits_file.read(_thresholds) or {}

    def save(self, fired: Fired) -> None:
        """Store what was sent; the file is replaced whole."""
        self._file.write(json.dumps(asdict(fired)).encode())

    def save_limits(self, limits: Mapping[str, float]) -> None:
        """Store what was sent of the plan's other limits."""
        self._limits_file.write(json.dumps(dict(limits)).encode())


def _fired(content: bytes) -> Fired:
    stored = json.loads(content)
    return Fired(float(stored["threshold"]), float(stored["ends"]), str(stored["source"]))


def _thresholds(content: bytes) -> Mapping[str, float]:
    limits = {str(name): float(threshold) for name, threshold in json.loads(content).items()}
    return {name: threshold for name, threshold in limits.items() if 0 < threshold <= 1}
