"""The plan percentages that were seen, the highest per reset time.

Terminals repeat old ones, but the plan never takes one back. `calibrate` holds the past ones against their tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from claude_gauge.counting.reading import PlanWindow
from claude_gauge.hooks.limits import LENGTHS, live, number, reset_time, share

Slot = Literal["five_hour", "seven_day"]
KEPT = 300  # windows of each kind: two months of 5-hour ones
SAME_WINDOW_S = 5 * 60.0  # reset times jitter by seconds between answers about one window


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest share that was seen of one window, and when it was first seen."""

    resets_at: float
    share: float
    at: float


Book = Mapping[Slot, tuple[Seen, ...]]
EMPTY: Book = {"five_hour": (), "seven_day": ()}


def from_status(slot: Slot, status: Mapping[str, object]) -> Seen | None:
    """Make sense of one window in a stored statusline; None where it is absent or garbage."""
    raw = status.get(slot)
    if not isinstance(raw, list) or len(raw) != 3:  # noqa: PLR2004 - percentage, reset, time
        return None
    used, resets_at, at = share(raw[0]), reset_time(raw[1]), number(raw[2])
    if used is None or resets_at is None or at is None:
        return None
    return Seen(resets_at, used, at) if live(resets_at, LENGTHS[slot], at) else None


def enter(book: Book, slot: Slot, news: Iterable[Seen]) -> Book:
    """Enter what was seen into the book; per window only the highest share stays, with its earliest time."""
    kept = list(book[slot])
    for seen in news:
        # From the newest on: what terminals tell is mostly of the present window.
        old = next((each for each in reversed(kept) if abs(each.resets_at - seen.resets_at) < SAME_WINDOW_S), None)
        if old is None:
            kept.append(seen)
        elif (seen.share, -seen.at) > (old.share, -old.at):
            kept[kept.index(old)] = seen
    kept.sort(key=lambda each: each.resets_at)
    return {**book, slot: tuple(kept[-KEPT:])}


def present(book: Book, slot: Slot, now: float) -> PlanWindow | None:
    """Return the window that runs now; None once it has reset, until newer news."""
    running = [seen for seen in book[slot] if live(seen.resets_at, LENGTHS[slot], now)]
    return PlanWindow(running[-1].share, running[-1].resets_at) if running else None
