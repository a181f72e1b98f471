"""Turns of any origin -> the sums of a `Reading`: owns the ledger, the window and the blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from claude_gauge.contract.plan_window import Refused, happened
from claude_gauge.counting.ledger import Change, Ledger
from claude_gauge.counting.reading import Block, Traffic, earliest
from claude_gauge.counting.settled import Filed
from claude_gauge.counting.sums import FIVE_MINUTES_S, WEEK_S, Blocks, Window
from claude_gauge.counting.turn import Turn

_DAY_S = 86400.0
_SETTLE_S = 6 * 3600.0  # of what ended longer ago only the total is kept
_TIDY_S = 600.0
_MANY = 5000  # responses that history may add before its older ones are settled
KEEP_S = WEEK_S + _DAY_S


class Counter:
    """Counts each response once, in all sums; not thread-safe, its owner locks. All times are epoch seconds."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._window = Window()
        self.blocks = Blocks()
        self.oldest = 0.0  # turns before this are not counted
        self.refused = Refused()
        self._tidied_at: float | None = None
        self._unsettled = 0
        self._reading = False

    def add(self, turn: Turn, now: float) -> bool:
        """Count one line; return whether it changed anything."""
        if not happened(turn.at, now):
            self.refused.add("times ahead of this clock")
            return False
        self._window.seen(turn.at, turn.model, now)
        if turn.at < self.oldest:
            return False
        changes = self._ledger.add(turn, shown_since=now - 2 * FIVE_MINUTES_S)
        for change in changes:
            self._apply(change, now)
        return bool(changes)

    def add_history(self, turn: Turn, times: Sequence[float], now: float) -> None:
        """Count a line of history, and lines that repeat it but for their times."""
        self.add(turn, now)
        for at in dict.fromkeys(times):  # a repeated line changes nothing
            if at != turn.at:
                self.add(turn._replace(at=at), now)

    def files_before(self, now: float) -> float:
        """Return before which time responses may be settled without the ledger (`file_apart`); -inf for none."""
        return -math.inf if self.oldest else now - _SETTLE_S

    def add_filed(self, filed: Mapping[int, Filed], newest: tuple[float, str], now: float) -> None:
        """Count responses that were settled without the ledger; `newest` is the last one's end and model."""
        self._window.seen(*newest, now)
        self.blocks.add_all(*self._ledger.file(filed))

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

    def traffic_due(self, now: float) -> float | None:
        """Return when a sum of the last minutes next changes by the passing of time alone."""
        return self._window.due(now)

    def due(self, now: float) -> float | None:
        """Return when any sum next changes by the passing of time alone."""
        return earliest(self.traffic_due(now), self.blocks.current(now).end)

    def tidy(self, now: float) -> None:
        """Drop what is too old to matter; cheap to call often."""
        grown = self._ledger.unsettled - self._unsettled
        if self._tidied_at is not None and abs(now - self._tidied_at) < _TIDY_S and grown < _MANY:
            return
        self._tidied_at = now
        self._ledger.settle(now - _SETTLE_S)
        self._unsettled = self._ledger.unsettled
        if not self._reading and self.oldest < now - KEEP_S - _DAY_S:
            self.oldest = now - KEEP_S
            self._ledger.forget(self.oldest)
            self.blocks.forget(self.oldest)

    def read_history(self) -> None:
        """Expect history in any order, from however long ago: nothing is dropped until `history_is_read`."""
        self._reading = True

    def history_is_read(self, now: float) -> None:
        """Note that the chain of blocks goes back to a pause, so that what is older than a week may be dropped."""
        self._reading, self._tidied_at = False, None
        self.tidy(now)
        self._ledger.pack()
