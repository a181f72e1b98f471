"""Everything between the OTLP socket and the tally: receive, keep on disk, count once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from claude_gauge.config import Settings, read_secret
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import Point
from claude_gauge.sources.otlp.export import Export
from claude_gauge.sources.otlp.journal import Journal, Kept, Record
from claude_gauge.sources.otlp.receiver import Receiver
from claude_gauge.sources.otlp.reconcile import Fill, Reconciler

log = logging.getLogger(__name__)

_FORGET_S = 3600.0


class OtlpFeed:
    """Fills the tally (under `lock`) with what is received at `settings.otlp`, and was before.

    `tally` tells which one: where all is counted anew it is another, and is filled from what was kept.
    `told_elsewhere` says of a session whether another source counts it too, exactly: its metrics are passed over.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tally: Callable[[], OtlpCounter],
        lock: threading.Lock,
        told_elsewhere: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        file = settings.otlp_token_file
        token = None if file is None else read_secret(file, "otlp_token_file")
        self._receiver = Receiver(settings.otlp_address, self._accept, token)
        path = settings.state_dir.expanduser() / f"otlp-{settings.node}.jsonl"
        self._journal = Journal(path)
        self._books = Reconciler()
        self._tally, self._tally_lock = tally, lock
        self._told_elsewhere = told_elsewhere
        self._clock = clock
        self._lock = threading.Lock()  # of books and journal; taken before the tally's, never after
        self._entered: dict[str, Tokens] = {}
        self._filled: OtlpCounter | None = None
        self._forgot_at = 0.0
        self._changed: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._receiver.port

    def start(self, changed: Callable[[], None]) -> None:
        """Load what was kept, then listen; raises GaugeError where the address can't be had."""
        self._changed = changed
        self._load(self._journal.open)
        self._receiver.start()

    def load(self) -> None:
        """Count what was kept of earlier runs, without listening or writing."""
        self._load(self._journal.peek)

    def _load(self, read: Callable[[float], Kept]) -> None:
        with self._lock:
            if self._filled is not None:
                return
            now = self._clock()
            kept = self._fill(read, now)
            for unit, tokens in kept.old.items():
                self._books.explain(unit, tokens, now)
            self._books.load(kept.requests.values(), kept.series.values(), kept.fills.values(), now)

    def _fill(self, read: Callable[[float], Kept], now: float) -> Kept:
        """Fill a tally that is new with what was kept."""
        kept = read(now)
        for key in [key for key, each in kept.series.items() if self._told_elsewhere(each.unit)]:
            del kept.series[key]
        for key in [key for key, each in kept.fills.items() if self._told_elsewhere(each.unit)]:
            del kept.fills[key]
        self._filled = self._tally()
        self._entered = {}
        with self._tally_lock:
            for request in sorted(kept.requests.values(), key=lambda request: request.at):
                self._filled.event(request, now)
                self._filled.tidy(now)  # history is settled as it is read: memory does not grow with it
        self._enter(kept.fills.values(), now)
        return kept

    def stop(self) -> None:
        """Stop listening; all that was answered is on disk already."""
        self._receiver.stop()

    def due(self) -> float | None:
        """Tell when metrics are next to be compared with events."""
        with self._lock:
            return self._books.due()

    def settle(self, now: float) -> None:
        """Enter the metrics whose time has come."""
        with self._lock:
            self._settle(now)

    def _settle(self, now: float) -> None:
        if self._filled is not self._tally():
            self._fill(self._journal.peek, now)
        fills = self._books.settle(now)
        self._journal.append(fills, now)
        self._enter(fills, now)
        if abs(now - self._forgot_at) > _FORGET_S:
            self._forgot_at = now
            self._books.forget(now)

    def _enter(self, fills: Iterable[Fill], now: float) -> None:
        with self._tally_lock:
            for fill in fills:
                self._tally().fill(fill, self._entered.get(fill.key, Tokens()), now)
                self._entered[fill.key] = fill.tokens

    def _accept(self, export: Export) -> None:
        now = self._clock()
        told = export.told
        with self._lock:
            requests = [request for request in told.requests if self._books.request(request, now)]
            self._books.talks(told.units, now)
            records: list[Record] = [*requests, *self._books.metrics(filter(self._wanted, told.points), now)]
            self._journal.append(records, now)
            with self._tally_lock:
                for request in requests:
                    self._tally().event(request, now)
            self._settle(now)
        log.debug("OTLP: %d requests, %d points, %d rejected", len(requests), len(told.points), told.rejected)
        if records:
            self._changed()

    def _wanted(self, point: Point) -> bool:
        return not self._told_elsewhere(point.unit)
