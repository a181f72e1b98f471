"""Makes sense of the plan's own figures, which others have met broken: an epoch as percentage, ISO times, over 100 %.

Imported by the statusline, which has milliseconds: nothing here imports anything slow.
"""

from __future__ import annotations

import math

FIVE_HOURS_S = 5 * 3600.0
SEVEN_DAYS_S = 7 * 86400.0
LENGTHS = {"five_hour": FIVE_HOURS_S, "seven_day": SEVEN_DAYS_S}
_OTHER_S = 400 * 86400.0  # a limit of an unknown period: a year's is the longest that makes sense
SLACK_S = 15 * 60.0  # how far this machine's clock may be behind the plan's
_FULL = 100.0
_NO_PERCENTAGE = 1000.0  # beyond this it is some other figure; up to it, a plan that was overdrawn
_MILLISECONDS = 1e11


def length_s(limit: str) -> float:
    """Return how long a limit's window is at most, by its name: `seven_day_opus` is one of seven days."""
    return next((length for name, length in LENGTHS.items() if limit.startswith(name)), _OTHER_S)


def percentage(figures: object) -> object:
    """Return the raw percentage of one of `rate_limits`; of one that only tells amounts, what they make."""
    if not isinstance(figures, dict):
        return None
    used, whole = number(figures.get("used_usd")), number(figures.get("limit_usd"))
    if figures.get("used_percentage") is None and used is not None and whole:
        return 100 * used / whole
    value: object = figures.get("used_percentage")
    return value


def share(percents: object) -> float | None:
    """Return `used_percentage` as a share of 1, cut at full; None for what is no percentage."""
    used = number(percents)
    if used is None or not 0 <= used < _NO_PERCENTAGE:
        return None
    return min(used, _FULL) / _FULL


def reset_time(value: object) -> float | None:
    """Return `resets_at` in epoch seconds, whether it came as seconds, milliseconds or ISO 8601."""
    at = number(value)
    if at is None and isinstance(value, str):
        at = _from_iso(value)
    if at is None or at <= 0:
        return None
    return at / 1000 if at > _MILLISECONDS else at


def live(resets_at: float, length_s: float, now: float) -> bool:
    """Tell whether a window can be the present one: not reset yet, and no further from that than it is long."""
    return now < resets_at <= now + length_s + SLACK_S


def number(value: object) -> float | None:
    """Return a finite number as it came or from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _from_iso(text: str) -> float | None:
    from datetime import UTC, datetime  # noqa: PLC0415 - seldom needed, and slow to import

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
