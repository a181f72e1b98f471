"""OTLP as a source: receives exports, stores them on disk, and counts each token once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from claude_gauge.config import Settings, read_secret
from claude_gauge.contract.plan_window import Refused
from claude_gauge.counting.reading import Health, Reading, Tokens, earliest
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import Decoded, Point, Request
from claude_gauge.sources.otlp.export import Export, site
from claude_gauge.sources.otlp.journal import Journal, Record
from claude_gauge.sources.otlp.reconcile import Fill, Reconciler
from claude_gauge.system.http.server import Listener, Server
from claude_gauge.system.net import host_of, is_loopback

log = logging.getLogger(__name__)

_FORGET_S = 3600.0
_BATCH = 500  # events of the journal that are counted at once
_YIELD_S = 0.001
_SLICE = 250  # records of an export that are counted at once, some milliseconds


class OtlpFeed:
    """Fills the counter (under `lock`) with what is received at `settings.otlp`, and was before.

    `counter` returns it: where all is counted again it is another one, filled from what was kept.
    `counted_elsewhere` says of a session whether another source counts it too, exactly: its metrics are ignored.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        settings: Settings,
        *,
        counter: Callable[[], OtlpCounter],
        lock: threading.Lock,
        server: Server | None = None,
        counted_elsewhere: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        file = settings.otlp_token_file
        self._token = None if file is None else read_secret(file, "otlp_token_file")
        self._address = settings.otlp_address
        self._server = server or Server()
        self._listener: Listener | None = None
        self._journal = Journal(settings.state_dir.expanduser() / f"otlp-{settings.node}.jsonl")
        self._reconciler = Reconciler()
        self._counter, self._counter_lock = counter, lock
        self._counted_elsewhere = counted_elsewhere
        self._clock = clock
        self._lock = threading.Lock()  # of reconciler and journal; taken before the counter's, never after
        self._refused = Refused()
        self._entered: dict[str, Tokens] = {}
        self._filled: OtlpCounter | None = None
        self._forgot_at = 0.0
        self._receives = False  # else only who receives may write
        self._changed: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        """The port that is listened on, of use where 0 was asked for."""
        return self._listener.port if self._listener else int(self._address.rpartition(":")[2])

    @property
    def left_out(self) -> str:
        """Say how much of what was received is not counted; "" where all is."""
        count = len(self._refused) + self._journal.skipped
        return f"{count} otlp records refused" if count else ""

    def start(self, changed: Callable[[], None]) -> None:
        """Load what was kept, then listen; raises GaugeError where the address can't be had."""
        if self._listener is not None:
            return
        self._changed = changed
        self.load()
        self._journal.open(self._clock())
        taken = site(self.accept, host_of(self._address), self._token, self._clock, self._refused)
        self._listener = self._server.listen(self._address, taken, name="OTLP", flag="--otlp")
        host = host_of(self._address)
        if not is_loopback(host) and self._token is None:
            log.warning("OTLP: %s is open to the network; guard it with --otlp-token-file or a firewall", host)
        log.info("OTLP: listening on %s:%d", host, self.port)

    def load(self) -> None:
        """Count what was kept of earlier runs, without listening or writing."""
        with self._lock:
            if self._filled is None:
                self._fill(self._clock(), again=False)

    def _fill(self, now: float, *, again: bool) -> None:
        """Fill a counter that is new with what was kept; where it is filled `again` the reconciler knows all that."""
        sums = self._journal.sums(now)
        sums.age(now)
        for key in [key for key, each in sums.series.items() if self._counted_elsewhere(each.unit)]:
            del sums.series[key]
        for key in [key for key, each in sums.fills.items() if self._counted_elsewhere(each.unit)]:
            del sums.fills[key]
        if not again:
            self._reconciler.load(sums.series.values(), sums.fills.values(), sums.number, now)
        self._filled = counter = self._counter()
        self._entered = {}
        events, kept = self._journal.events(now, sums), self._reconciler.kept
        while batch := list(islice(events, _BATCH)):
            new = [(key, each) for key, each in batch if again or kept(key, each.units, each.at, each.counts, now)]
            with self._counter_lock:
                counter.kept(new, now)
        if not again:
            for unit, tokens in sums.old.items():
                self._reconciler.explain(unit, tokens, now)
            self._reconciler.loaded(now)
        self._enter(sums.fills.values(), now)

    def stop(self) -> None:
        """Stop listening; all that was answered is on disk already."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._journal.close()

    def due(self) -> float | None:
        """Return when metrics are next to be compared with events."""
        with self._lock:
            return self._reconciler.due()

    def settle(self, now: float) -> None:
        """Enter the metrics whose time has come."""
        with self._lock:
            self._settle(now)

    def _settle(self, now: float) -> bool:
        if self._filled is not self._counter():
            self._fill(now, again=True)
        fills = self._reconciler.settle(now)
        stored = self._journal.append(fills, now)
        self._enter(fills, now)
        if self._receives and abs(now - self._forgot_at) > _FORGET_S:
            self._forgot_at = now
            stored = self._journal.append(self._reconciler.forget(now), now)
            kept = self._reconciler.fill_keys()
            self._entered = {key: tokens for key, tokens in self._entered.items() if key in kept}
        return stored

    def _enter(self, fills: Iterable[Fill], now: float) -> None:
        with self._counter_lock:
            for fill in fills:
                self._counter().fill(fill, self._entered.get(fill.key, Tokens()), now)
                self._entered[fill.key] = fill.tokens

    def accept(self, export: Export) -> bool:
        """Count one export; return whether it is stored, too."""
        now, decoded, self._receives = self._clock(), export.decoded, True
        news = stored = False
        with self._lock:
            self._reconciler.talks(decoded.units, now)
        for number, (requests, points) in enumerate(_slices(decoded)):
            if number:
                time.sleep(_YIELD_S)  # a lock is not fair: who waits for it would see all slices go by
            with self._lock:  # again for each slice: who reads waits for one alone
                new, stored = self._take(requests, points, now)
            news = news or new
        log.debug(
            "OTLP: %d requests, %d points, %d rejected", len(decoded.requests), len(decoded.points), decoded.rejected
        )
        if news:
            self._changed()
        return stored

    def _take(self, requests: Sequence[Request], points: Sequence[Point], now: float) -> tuple[bool, bool]:
        """Count a part of an export; return whether anything in it was new, and whether all so far is stored."""
        new = [request for request in requests if self._reconciler.request(request, now)]
        records: list[Record] = [*new, *self._reconciler.metrics(filter(self._wanted, points), now)]
        self._journal.append(records, now)
        with self._counter_lock:
            for request in new:
                self._counter().event(request, now)
        return bool(records), self._settle(now)

    def _wanted(self, point: Point) -> bool:
        return not self._counted_elsewhere(point.unit)


def _slices(decoded: Decoded) -> Iterator[tuple[Sequence[Request], Sequence[Point]]]:
    """Cut an export into parts, of which there is at least one."""
    for first in range(0, max(1, len(decoded.requests), len(decoded.points)), _SLICE):
        part = slice(first, first + _SLICE)
        yield decoded.requests[part], decoded.points[part]


NAME = "otlp"
DAY_S = 86400.0


class Otlp:
    """Counts what Claude Code, on this machine or another, sends to `settings.otlp`; `clock` gives epoch seconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, server: Server | None = None
    ) -> None:
        self._counter = OtlpCounter()
        self._lock = threading.Lock()
        self._feed = OtlpFeed(settings, counter=lambda: self._counter, lock=self._lock, server=server, clock=clock)
        self._read_at = 0.0

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._feed.port

    def start(self, changed: Callable[[], None]) -> None:
        """Load what earlier runs received, then listen; raises GaugeError where the address can't be had."""
        self._feed.start(changed)

    def load(self) -> None:
        """Read what earlier runs received, without listening."""
        self._feed.load()

    def read(self, now: float) -> Reading:
        """Return what is counted so far."""
        if now < self._read_at - DAY_S:
            self._counter = OtlpCounter()  # in that future, what is present now was old and forgotten
        self._read_at = now
        self._feed.settle(now)
        with self._lock:
            self._counter.tidy(now)
            traffic = self._counter.traffic(now)
            block, week = self._counter.block(now), self._counter.week(now)
        seen, left_out = traffic.newest_at is not None, self._feed.left_out
        why = left_out or ("" if seen else "nothing received yet")
        health = Health(NAME, ok=not why, why=why, degraded=seen and bool(why))
        return Reading(
            traffic=replace(traffic, thinking="unknown"),
            block=block,
            week_tokens=week,
            sources={
                "tach": health,
                "fuel": health,
                "thinking": Health(NAME, ok=False, why="no thinking in telemetry", degraded=True),
            },
        )

    def due(self, now: float) -> float | None:
        """Return when a sum changes by the passing of time."""
        with self._lock:
            counter = self._counter.due(now)
        return earliest(counter, self._feed.due())

    def stop(self) -> None:
        """Stop listening."""
        self._feed.stop()
