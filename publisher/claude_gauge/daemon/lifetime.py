"""A node's figures on disk, for the next start: the 5-hour window's last ones, and the sum of all tokens so far.

The window's figures are shown until the sources know better. The lifetime sum only grows, though old transcripts are
deleted: its file holds what was settled up to a minute (`mark`), six hours or more ago; what came after is asked of the
source each time, for late lines may still change it. It begins with the week that the first start finds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.plan_window import FIVE_HOUR_RESET_S, resets
from claude_gauge.contract.usage import MAX_COUNT, Usage, stamp
from claude_gauge.counting.sums import WEEK_S
from claude_gauge.sources.source import Remembers, Source
from claude_gauge.system.atomic_file import StateFile

SETTLE_S = 6 * 3600.0
STORE_S = 3600.0
LOOK_S = 2.0  # the lifetime sum is taken again at most so often
EVERY_S = 60.0  # a figure that grows is written this often at most
FIELDS = ("window_5h_tokens", "window_5h_pct", "window_5h_resets_at", "last_model")
_AT_REST = {
    "rate_1m": 0.0,
    "thinking_ratio": 0.0,
    "cache_hit_rate": 0.0,
    "hot": False,
    "warn": False,
    "stall": True,
    "idle": True,
}


class KeptWindow:
    """The 5-hour window's last figures, in one small file per node; a start with another account ignores it."""

    def __init__(
        self,
        state_dir: Path,
        node: str,
        account: str | None,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kept: Usage | None = None  # from before the start
        self._file = StateFile(state_dir / f"{node}.window.json", "after a restart the fuel is unknown at first")
        self._account = account
        self._clock, self._steady = clock, steady
        self._latest: dict[str, object] = {}
        self._written: dict[str, object] = {}
        self._written_at: float | None = None

    def start(self) -> None:
        """Read what was kept."""
        self.kept = self.load(self._clock())

    def load(self, now: float) -> Usage | None:
        """Return a payload at rest with the window's figures, if that window still runs at `now` (epoch seconds)."""

        def parse(content: bytes) -> Usage | None:
            stored = json.loads(content)
            reset = seconds(stored["window_5h_resets_at"])
            if reset is None or not resets(reset, now, FIVE_HOUR_RESET_S) or stored["account"] != self._account:
                return None
            kept = {name: stored[name] for name in FIELDS}
            return Usage.model_validate({**_AT_REST, **kept, "updated_at": stamp(now)})

        return self._file.read(parse)

    def __call__(self, usage: Usage, _payload: bytes) -> None:
        """Take a payload; only a fuel that is known, of a window that ends, is kept."""
        if usage.fuel_source is None or usage.window_5h_resets_at is None:
            return
        self._latest = {"account": self._account, **{name: getattr(usage, name) for name in FIELDS}}
        if self._written_at is None or self._steady() - self._written_at >= EVERY_S:
            self.stop()

    def stop(self) -> None:
        """Write what is not written yet."""
        if self._latest == self._written:
            return
        self._written_at, self._written = self._steady(), self._latest
        self._file.write(json.dumps(self._latest).encode())


class Lifetime:
    """The growing sum of one node; a source that does not remember leaves it unknown."""

    def __init__(
        self, state_dir: Path, node: str, source: Source, steady: Callable[[], float] = time.monotonic
    ) -> None:
        lost = "the sum of all tokens may lack what is older than a week"
        self._file = StateFile(state_dir / f"{node}.lifetime.json", lost)
        self._source = source
        self._steady = steady
        self._settled, self._mark = 0, 0  # tokens before the mark; the mark is a minute, numbered from the epoch
        self._total: int | None = None
        self._looked_at: float | None = None
        self._stored_at: float | None = None

    def start(self) -> None:
        """Read what the last run stored."""
        if stored := self._file.read(_parse):
            self._settled, self._mark, self._total = stored

    def total(self, now: float) -> int | None:
        """Return the sum at `now` (epoch seconds); None until the source knows its past."""
        steady = self._steady()
        if self._looked_at is not None and steady - self._looked_at < LOOK_S:
            return self._total
        self._looked_at = steady
        self._mark = self._mark or int((now - WEEK_S) // 60)
        past = self._source.past(self._mark * 60.0 - 1, now) if isinstance(self._source, Remembers) else None
        if past is None:
            return self._total
        recent = sum(tokens for minute, tokens in past.items() if minute >= self._mark)
        self._total = min(MAX_COUNT, max(self._total or 0, self._settled + recent))
        self._settle(past, now)
        return self._total

    def __call__(self, _usage: Usage, _payload: bytes) -> None:
        """Store the sum once an hour."""
        if self._total is not None and (self._stored_at is None or self._steady() - self._stored_at > STORE_S):
            self.stop()

    def stop(self) -> None:
        """Store the sum; a disk that refuses stops nothing."""
        if self._total is None:
            return
        self._stored_at = self._steady()
        content = {"settled": self._settled, "mark": self._mark, "total": self._total}
        self._file.write(json.dumps(content).encode())

    def _settle(self, past: dict[int, int], now: float) -> None:
        mark = int((now - SETTLE_S) // 60)
        if mark > self._mark:
            self._settled += sum(tokens for minute, tokens in past.items() if self._mark <= minute < mark)
            self._mark = mark


def _parse(content: bytes) -> tuple[int, int, int]:
    stored = json.loads(content)
    return _count(stored["settled"]), _count(stored["mark"]), _count(stored["total"])


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("no count")
    return value
