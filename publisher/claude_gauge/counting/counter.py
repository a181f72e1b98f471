"""Turns from wherever they come -> the sums of a `Reading`: ledger, window and blocks together."""

from __future__ import annotations

from claude_gauge.contract.believable import Refused, happened
from claude_gauge.counting.blocks import WEEK_S, Blocks
from claude_gauge.counting.ledger import Change, Ledger
from claude_gauge.counting.reading import Block, Traffic
from claude_gauge.counting.turn import Turn
from claude_gauge.counting.window import FIVE_MINUTES_S, Window

_DAY_S = 86400.0
_TIDY_S = 600.0
_MANY = 5000  # responses that history may add before its older ones are settled
KEEP_S = WEEK_S + _DAY_S


class Counter:
    """Everything counted once; not thread-safe, its owner locks. All times in epoch seconds."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._window = Window()
        self.blocks = Blocks()
        self.oldest = 0.0  # turns before this are not counted
        self.refused = Refused()
        self._tidied_at: float | None = None
        self._unsettled = 0

    def add(self, turn: Turn, now: float) -> bool:
        """Count what one line tells; tell whether it changed anything."""
        if not happened(turn.at, now):
            self.refused.add("times ahead of this clock")
            return False
        self._window.seen(turn.at, turn.model, now)
        if turn.at < self.oldest:
            return False
        changes = self._ledger.add(turn, moved_since=now - 2 * FIVE_MINUTES_S)
        for change in changes:
            self._apply(change, now)
        return bool(changes)

    def _apply(self, change: Change, now: float) -> None:
        before, after = change
        if before is not None:
            self._window.remove(before.ended, before.tokens, estimated=before.estimated)
        if after is not None and after.ended > now - 2 * FIVE_MINUTES_S:
            self._window.add(after.ended, after.tokens, estimated=after.estimated)
        self.blocks.apply(change)

    def traffic(self, now: float) -> Traffic:
        """Return the last minute's and the last five minutes' sums."""
        return self._window.traffic(now)

    def block(self, now: float) -> Block:
        """Return the active 5-hour block."""
        return self.blocks.current(now)

    def week(self, now: float) -> int:
        """Return the last 7 days' tokens."""
        return self.blocks.week(now)

    def due(self, now: float) -> float | None:
        """Return when a sum next changes by the passing of time alone."""
        ends = self.blocks.current(now).end
        times = [time for time in (self._window.due(now), ends) if time is not None]
        return min(times, default=None)

    def tidy(self, now: float) -> None:
        """Drop what is too old to matter; cheap to call often."""
        grown = self._ledger.unsettled - self._unsettled
        if self._tidied_at is not None and abs(now - self._tidied_at) < _TIDY_S and grown < _MANY:
            return
        self._tidied_at = now
        self._ledger.settle(now - _DAY_S)
        self._unsettled = self._ledger.unsettled
        if self.oldest < now - KEEP_S - _DAY_S:
            self.oldest = now - KEEP_S
            self._ledger.forget(self.oldest)
            self.blocks.forget(self.oldest)
