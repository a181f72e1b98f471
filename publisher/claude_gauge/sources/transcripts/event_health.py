"""Whether file events can be relied on: a scan that finds what no event told of says no, quiet minutes say yes."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)
AGAIN_S = 60.0


class EventHealth:
    """Compares scans with hints; times in seconds of one steady clock.

    An event may be on its way when a scan finds its file, so a file is only suspect until the next scan: what nothing
    told of by then was missed.
    """

    def __init__(self) -> None:
        self._suspects: set[str] = set()
        self._lost_at: float | None = None

    @property
    def lost(self) -> bool:
        """Whether events go missing at present."""
        return self._lost_at is not None

    def hinted(self, path: str) -> None:
        """Note that an event told of this file."""
        self._suspects.discard(path)

    def found(self, grown: set[str]) -> None:
        """Note what a scan found grown before any event told of it."""
        self._suspects = grown

    def judge(self, now: float) -> bool:
        """Decide, right before a scan; tell whether trust was lost by this."""
        if self._suspects:
            just_lost = self._lost_at is None
            if just_lost:
                _log.warning("file events go missing (%d files): looking every second instead", len(self._suspects))
            self._lost_at = now
            return just_lost
        if self._lost_at is not None and now - self._lost_at > AGAIN_S:
            self._lost_at = None
            _log.info("file events arrive again")
        return False
