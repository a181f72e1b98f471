"""The device's side of the contract: parses a payload, and says whether it is stale."""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEARTBEAT_MS = 15_000
STALE_MS = 3 * HEARTBEAT_MS
MAX_BYTES = 2048  # twice what the contract allows: a reader forgives more than a writer may do

# What is shown before the first payload and whenever there is nothing to believe. The names are the contract's.
REST: "dict[str, Any]" = {
    "rate_1m": 0.0,
    "window_5h_tokens": 0,
    "window_5h_pct": 0.0,
    "thinking_ratio": 0.0,
    "cache_hit_rate": 0.0,
    "last_model": "",
    "hot": False,
    "warn": False,
    "stall": True,
    "idle": False,
    "updated_at": "",
}
SHARES = ("window_5h_pct", "thinking_ratio", "cache_hit_rate")
# Which part in `sources` stands for a figure; a figure that is not known is None, and its needle rests.
PART_OF = {
    "rate_1m": "tach",
    "cache_hit_rate": "tach",
    "window_5h_tokens": "fuel",
    "window_5h_pct": "fuel",
    "thinking_ratio": "thinking",
}
EXTRAS = ("waiting", "limit_before_reset")  # booleans beyond the seed's fields that a lamp shows


def parse(payload: bytes) -> "dict | None":
    """Return the fields that needles and lamps show, or None for what is no usage payload."""
    if len(payload) > MAX_BYTES:
        return None
    if payload.strip()[-1:] != b"}":  # MicroPython forgives an object that was cut off
        return None
    try:
        given = json.loads(payload.decode())
    except (ValueError, RuntimeError, MemoryError):  # garbage; nested too deep; more than the heap holds
        return None
    if not isinstance(given, dict) or not all(_fits(name, given.get(name)) for name in REST):
        return None
    usage = {name: None if _unknown(name, given) else given[name] for name in REST}
    for name in EXTRAS:
        usage[name] = given.get(name) is True
    return usage


def _unknown(name: str, given: dict) -> bool:
    """Return whether a figure is not known, by the contract's rule: see `Usage.figure` of the publisher."""
    parts = given.get("sources")
    part = parts.get(PART_OF.get(name)) if isinstance(parts, dict) else None
    if (
        not isinstance(part, dict)
        or part.get("ok") is not False
        or (name == "window_5h_pct" and given.get("fuel_source"))
    ):
        return False
    return name == "thinking_ratio" or (given["stall"] and not given[name])


def _fits(name: str, value: "Any") -> bool:
    kind = type(REST[name])
    if kind in (bool, str):
        return type(value) is kind
    if type(value) not in (int, float):
        return False
    if value - value != 0 or value < 0:  # not finite, or negative
        return False
    return name not in SHARES or value <= 1


def epoch(stamp: str) -> "int | None":
    """Return the seconds since 1970 of an ISO 8601 time, whole ones: an ESP32's floats are too short for them."""
    try:
        year, month, day = int(stamp[0:4]), int(stamp[5:7]), int(stamp[8:10])
        hour, minute, second = int(stamp[11:13]), int(stamp[14:16]), int(stamp[17:19])
        zone = stamp[19:].lstrip(".0123456789")
        offset_min = 0
        if zone not in ("Z", "z"):
            offset_min = (int(zone[1:3]) * 60 + int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    except (ValueError, IndexError):
        return None
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    # Days since 1970: years counted from March, so that the leap day is a year's last.
    year -= month < 3
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719_468
    return days * 86_400 + hour * 3600 + (minute - offset_min) * 60 + second


class Freshness:
    """Whether the newest payload may still be shown.

    A message that arrives while we listen vouches for itself. A retained one that we get for having subscribed may
    be years old: only its `updated_at` against a known time vouches for it. Repeats of an `updated_at` renew nothing.
    """

    def __init__(self) -> None:
        self._heard_ms: int | None = None
        self._stamp = ""
        self._offline = False

    def received(self, stamp: str, now_ms: int, *, retained: bool, utc_s: "int | None") -> None:
        """Take note of a payload; `utc_s` is the time in seconds since 1970, or None where it is not known."""
        age_ms = 0
        if retained:
            computed_s = epoch(stamp)
            if utc_s is None or computed_s is None or (computed_s - utc_s) * 1000 > STALE_MS:
                return  # nothing to judge it by, or from a clock that is wrong
            age_ms = max(0, utc_s - computed_s) * 1000
        elif stamp == self._stamp:
            return
        else:
            self._offline = False
        self._stamp = stamp
        self._heard_ms = now_ms - age_ms

    def status(self, text: bytes) -> None:
        """Take note of the publisher's `online` or `offline`."""
        self._offline = text == b"offline"

    def stale(self, now_ms: int) -> bool:
        """Return whether needles must rest: no payload yet, the newest is too old, or the publisher is offline."""
        return self._offline or self._heard_ms is None or now_ms - self._heard_ms > STALE_MS
