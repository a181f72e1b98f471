"""The loop: the source's reading -> `derive` -> all outlets, one payload after the other.

A payload is made by the loop when time has changed a figure, and by the source's own thread when it has news and the
last payload is a tenth of a second old.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from claude_gauge.contract.needle import LEAST_GAP_S, Pace
from claude_gauge.contract.usage import Usage
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Health, Reading
from claude_gauge.sources.source import Source

log = logging.getLogger(__name__)
Outlet = Callable[[Usage, bytes], object]
_RIVAL = Health("mqtt", ok=False, degraded=True, why="another publisher has it")


class Publisher:
    """Computes each payload once and passes it to all outlets; `clock` returns epoch seconds.

    `watchdog` is called at each pass and says within how many seconds it wants to be called again. `rival` says if
    another publisher writes to this node's topics, `lifetime` the sum of all tokens ever. Each decision looks at the
    clock once: what is due between two looks would be missed by both.
    """

    def __init__(  # noqa: PLR0913 - what a payload needs to be, by name
        self,
        source: Source,
        limits: Limits,
        outlets: Sequence[Outlet],
        *,
        node: str,
        account: str | None = None,
        clock: Callable[[], float] = time.time,
        watchdog: Callable[[], float] = lambda: math.inf,
        rival: Callable[[], bool] = lambda: False,
        lifetime: Callable[[float], int | None] = lambda _now: None,
    ) -> None:
        self._source = source
        self._limits = limits
        self._outlets = list(outlets)
        self._node, self._account = node, account
        self._clock, self._watchdog, self._rival = clock, watchdog, rival
        self._lifetime = lifetime
        self._pace = Pace()
        self._busy = threading.Lock()  # held by whoever makes a payload, and for the loop's own figures
        self._stale = False  # something changed since the last payload was begun
        self._due = -math.inf  # when the next payload is due, if nothing changes; times are the steady clock's
        self._next_look = math.inf  # when the loop looks next by itself; "never" while it is not at rest
        self._fault: Exception | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._looked_at = -LEAST_GAP_S
        self._news = False  # to be sent though no needle moves
        self.latest: Usage | None = None
        self.kept: Usage | None = None  # what is shown of the window until the source knows it

    def run(self) -> None:
        """Publish until `stop`; the source is started and stopped with it."""
        with self._busy:  # so that the first payload waits for all sources
            self._source.start(self._changed)
        try:
            while not self._stopping.is_set():
                self._wake.wait(self._look())
                self._wake.clear()
        finally:
            self._source.stop()

    def _look(self) -> float:
        """Make a payload if it is due; return for how many seconds there is nothing to do unless something changes."""
        with self._busy:
            self._next_look = math.inf
            if self._fault is not None:
                raise self._fault
            if time.monotonic() >= self._next():
                self._make_payload()
            now = time.monotonic()
            self._next_look = min(self._next(), now + self._watchdog())
            return max(0.0, self._next_look - now)

    def _changed(self) -> None:
        """Publish a change in the thread that reports it: waking another takes longer than the payload itself.

        A burst is one change: after a payload the next one is the loop's, when it may go out. The loop is woken only
        where it would look too late.
        """
        self._stale = True
        if time.monotonic() - self._looked_at >= LEAST_GAP_S and self._busy.acquire(blocking=False):
            try:
                if not self._stopping.is_set():
                    self._make_payload()
            except Exception as error:  # noqa: BLE001 - it is the loop's, not the source's: raised there
                self._fault, self._due = error, -math.inf
            finally:
                self._busy.release()
        if self._next() < self._next_look:
            self._wake.set()

    def _next(self) -> float:
        return min(self._due, self._looked_at + LEAST_GAP_S) if self._stale else self._due

    def _make_payload(self) -> None:
        self._stale = False  # first: what changes from here on may not be in this payload
        wait = self.send_due()
        self._due = time.monotonic() + wait

    def stop(self) -> None:
        """End `run` soon; from any thread."""
        self._stopping.set()
        self._wake.set()

    def set_limits(self, limits: Limits) -> None:
        """Compare the figures with these limits from now on, and send a payload at once; from any thread."""
        self._limits, self._news, self._stale = limits, True, True
        self._wake.set()

    def compute(self) -> tuple[Usage, Reading, float]:
        """Return the present payload, what it was made of, and when (epoch seconds); sends nothing."""
        self._looked_at = time.monotonic()
        now = self._clock()
        reading = self._source.read(now)
        if self._rival():
            reading = dataclasses.replace(reading, sources={"node": _RIVAL, **reading.sources})
        previous = self.latest or self.kept
        usage = derive(
            reading,
            self._limits,
            now,
            node=self._node,
            account=self._account,
            previous=previous,
            tokens_total=self._lifetime(now),
        )
        return usage, reading, now

    def send_due(self) -> float:
        """Send what is due; return how many seconds may pass until the next look."""
        news, self._news = self._news, False  # before the look: an order that comes later has a payload of its own
        usage, reading, now = self.compute()
        steady = self._looked_at
        if news or self._pace.wants(usage, steady):
            before, self.latest = self.latest, usage
            payload = usage.to_json()
            for outlet in self._outlets:
                outlet(usage, payload)
            self._pace.sent(usage, steady)
            log.debug("%s", payload)
            _log_changes(before, usage)
        # Asked last, of the same moment: a reader need not wait for it, and what came since calls for another look.
        return min(self._pace.wait(usage, steady), self._until_change(reading, now))

    def _until_change(self, reading: Reading, now: float) -> float:
        times = [self._source.due(now)]
        if reading.traffic and reading.traffic.newest_at is not None:
            times.append(reading.traffic.newest_at + self._limits.stall_s)
        times += [window.resets_at for window in (reading.plan_5h, reading.plan_7d, reading.limit) if window]
        # A little late, so that what is due has happened when we look.
        return min((time + 0.002 - now for time in times if time is not None and time > now), default=float("inf"))


def _log_changes(before: Usage | None, usage: Usage) -> None:
    parts = before.sources if before else {}
    for name, part in usage.sources.items():
        was_ok = name not in parts or parts[name].ok
        if part.ok and not was_ok:
            log.info("%s from %s: healthy again", name, part.source)
        elif not part.ok and (was_ok or part.why != parts[name].why):
            log.warning("%s from %s: %s", name, part.source, part.why or "not healthy")
