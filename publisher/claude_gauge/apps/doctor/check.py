"""What one look found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain: its state, what was found, and what to do unless it is ok."""

    link: str
    state: Literal["ok", "warn", "fail", "off"]
    found: str
    advice: str = ""


def age(seconds: float) -> str:
    """Write an age as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
