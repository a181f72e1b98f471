"""A reader's view of one node: its newest payload and status, and whether that payload is stale."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import ValidationError

from claude_gauge.contract.usage import HEARTBEAT_S, MISSED_HEARTBEATS, OFFLINE, ONLINE, Usage

SILENCE_S = MISSED_HEARTBEATS * HEARTBEAT_S
CLOCK_S = 1.0  # a small correction of the clock
CLOCKS_APART_S = 900.0  # two machines' clocks may differ by so much
FIRST_WORD_S = HEARTBEAT_S + 5.0  # a running node publishes within this


def read(payload: bytes) -> Usage | None:
    """Read a payload as every reader must: unknown fields ignored; None for anything that is no payload."""
    try:
        members = json.loads(payload)
        fields = {name: value for name, value in members.items() if name in Usage.model_fields}
        return Usage.model_validate(fields)
    except (ValueError, AttributeError, RecursionError, ValidationError):
        return None


def seconds(text: str | None) -> float | None:
    """Turn one of the contract's stamps into epoch seconds; None where there is none or it is no stamp."""
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except (ValueError, OverflowError):
        return None


class Freshness:
    """The newest payload and status of a node; times are arguments, in epoch seconds."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.status = ""
        self._live = (0.0, 0.0)
        self._only_online = False

    def payload(self, payload: bytes, now: float, *, retained: bool) -> bool:
        """Take a payload; return whether it was one.

        A retained payload may be days old: its own time stamp decides.
        """
        usage = read(payload)
        if usage is not None:
            self.take(usage, now, retained=retained)
        return usage is not None

    def take(self, usage: Usage, now: float, *, retained: bool) -> None:
        """Take a payload that was read already.

        Where the stamp of a retained one is minutes away, the node's clock or ours is wrong, or it is old: it counts
        while the node is `online`, until its first heartbeat is overdue.
        """
        self.usage = usage
        self._only_online = False
        made = seconds(usage.updated_at)
        apart = CLOCKS_APART_S + 1 if made is None else abs(now - made)
        if not retained:
            self._live = (now, now + SILENCE_S)
        elif made is not None and apart <= SILENCE_S:
            self._live = (now, min(now, made) + SILENCE_S)
        elif apart <= CLOCKS_APART_S:
            self._live, self._only_online = (now, now + FIRST_WORD_S), True
        else:
            self._live = (0.0, 0.0)

    def stale(self, now: float) -> str:
        """Return why the newest payload is stale, or "" while it is not."""
        if self.status == OFFLINE:
            return "publisher offline"
        if self.usage is None:
            return "nothing received yet"
        came, until = self._live
        # After a clock was set back the payload's age is unknown until the next heartbeat.
        if came - CLOCK_S <= now < until and not (self._only_online and self.status != ONLINE):
            return ""
        return f"no heartbeat since {self.usage.updated_at[:19].replace('T', ' ')} UTC"
