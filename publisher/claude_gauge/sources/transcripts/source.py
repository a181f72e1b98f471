"""The transcripts as a source: one thread reads them, the tally counts them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from claude_gauge.counting import turn
from claude_gauge.counting.blocks import FIVE_HOURS_S, WEEK_S
from claude_gauge.counting.counter import Counter
from claude_gauge.counting.reading import Health, Reading
from claude_gauge.sources.transcripts.event_health import EventHealth
from claude_gauge.sources.transcripts.hints import Hints
from claude_gauge.sources.transcripts.tail import Tail
from claude_gauge.sources.transcripts.watch import Watch

_log = logging.getLogger(__name__)
NAME = "transcripts"
SCAN_S, LONGEST_SCAN_S = 3.0, 60.0
SCAN_SHARE = 400  # a scan may take one part in so many of the time
POLL_S = 1.0
FIRST_S = 0.3  # what the first payload waits for at most; the rest of the history follows behind it
TAIL_BYTES = 1 << 20
JUMP_S = 2.0
_DAY_S = 86400.0


class Transcripts:
    """Reads Claude Code's transcripts below `roots`; `clock` gives epoch seconds.

    `denied` is called, from the reading thread, for each tool call that the person did not let run.
    Another source may count into the same tally (`fresh` makes it, now and when all is counted anew) under `lock`.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        clock: Callable[[], float] = time.time,
        *,
        fresh: Callable[[], Counter] = Counter,
        lock: threading.Lock | None = None,
        denied: Callable[[turn.Denial], None] | None = None,
    ) -> None:
        self._roots = list(roots)
        self._clock = clock
        self._fresh = fresh
        self._lock = lock or threading.Lock()
        self._denied = denied
        self._hints = Hints()
        self._watch = Watch(self._hints.put)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._trust = EventHealth()
        self._told: Health | None = None
        self._offset = clock() - time.monotonic()
        self._start_over()

    def _start_over(self) -> None:
        with self._lock:
            now = self._clock()
            self._tally = self._fresh()
            self._tally.tidy(now)
            self._tail = Tail(self._roots, now - FIVE_HOURS_S)
            self._chained = self._whole = False

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to follow; returns when the block is known, a third of a second at most."""
        self._changed = changed
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()
        self._ready.wait(FIRST_S)

    def stop(self) -> None:
        """End the threads."""
        self._stopping.set()
        self._hints.end()
        if self._thread:
            self._thread.join(5)
        else:
            self._watch.stop()

    def load(self) -> None:
        """Read all that matters now, without following it."""
        self._tail.scan()
        self._catch_up(deadline=None)

    def read(self, now: float) -> Reading:
        """Tell what is counted so far."""
        with self._lock:
            self._tally.tidy(now)
            traffic = self._tally.traffic(now)
            return Reading(
                traffic=traffic,
                block=self._tally.block(now),
                week_tokens=self._tally.week(now) if self._whole else None,
                sources={
                    "tach": self._health(),
                    "fuel": self._health()
                    if self._chained
                    else Health(NAME, ok=False, why="reading history", degraded=True),
                    "thinking": Health(NAME, why="estimated" if traffic.thinking == "estimated" else ""),
                },
            )

    def past(self, now: float) -> dict[int, int] | None:
        """Tell each minute's tokens of the last five hours, None until all of them are read."""
        with self._lock:
            return self._tally.blocks.minutes(now - FIVE_HOURS_S, now) if self._whole else None

    def due(self, now: float) -> float | None:
        """Tell when a sum changes by the passing of time."""
        with self._lock:
            return self._tally.due(now)

    def _health(self) -> Health:
        if not any(root.is_dir() for root in self._roots):
            return Health(NAME, ok=False, why="no transcripts folder")
        if self._tail.unreadable:
            return Health(NAME, ok=False, why=f"{self._tail.unreadable} unreadable", degraded=True)
        if self._polling:
            return Health(NAME, ok=False, why=self._watch.trouble or "file events missed", degraded=True)
        return Health(NAME)

    @property
    def _polling(self) -> bool:
        return bool(self._watch.trouble) or self._trust.lost

    def _run(self) -> None:
        steps = [self._first, self._follow]
        while not self._stopping.is_set():
            try:
                self._watch.tend(self._roots)
                steps[0]()
                steps = steps[-1:]
            except Exception:  # nothing may end the watch: told in full, then it goes on with a scan
                _log.exception("following the transcripts failed; going on in a second")
                self._hints.put(None)
                self._stopping.wait(POLL_S)
        self._watch.stop()

    def _first(self) -> None:
        self._tail.scan()
        self._watch.cover(self._tail.folders)
        begun = time.monotonic()
        for follower in self._tail.waiting():  # of a huge file, first what happened last
            if time.monotonic() - begun > FIRST_S / 2:
                break
            try:
                self._take(follower.read_tail(TAIL_BYTES))
            except OSError:
                continue  # the whole reading that follows says it
        newest = self._tail.newest()
        if newest is not None:
            self._tail.hint(newest.path)  # however old it is: it knows the last model
        self._changed()
        self._catch_up(deadline=begun + FIRST_S)
        self._ready.set()

    def _follow(self) -> None:
        next_scan = time.monotonic() + SCAN_S
        while not self._stopping.is_set():
            lost, jumped = self._listen(next_scan), self._clock_jumped()
            now = time.monotonic()
            if lost or jumped or now >= next_scan:
                self._reconcile(lost=lost)
                next_scan = time.monotonic() + self._pause(time.monotonic() - now)
            self._catch_up(deadline=time.monotonic())

    def _pause(self, took: float) -> float:
        if self._polling:
            return max(POLL_S, took * 20)
        return min(LONGEST_SCAN_S, max(SCAN_S, took * SCAN_SHARE))

    def _listen(self, until: float) -> bool:
        """Wait for hints and pass them on; tell whether some were lost."""
        busy = self._tail.behind or not self._whole
        paths, lost = self._hints.take(0.0 if busy else min(SCAN_S, max(0.0, until - time.monotonic())))
        for path in paths:
            self._trust.hinted(path)
            self._tail.hint(path)
        return lost

    def _reconcile(self, *, lost: bool) -> None:
        """Scan, and see whether the watch still tells all."""
        if lost:
            _log.info("file events were lost: looking through all files")
        if self._trust.judge(time.monotonic()):
            self._watch.renew()
        began = self._watch.tend(self._roots)
        grown = self._tail.scan()
        self._watch.cover(self._tail.folders)
        self._trust.found(grown if self._whole and not (lost or began) else set())
        health, self._told = self._told, self._health()
        if health != self._told:
            self._changed()

    def _clock_jumped(self) -> bool:
        offset = self._clock() - time.monotonic()
        by, self._offset = offset - self._offset, offset
        if by < -_DAY_S:
            _log.warning("the clock was set back by %.1f days: counting anew", -by / _DAY_S)
            self._start_over()  # in that future, what is present now was old and forgotten
        elif by > JUMP_S and self._tally.refused:
            _log.info("the clock was set forward by %.0f s: counting anew", by)
            self._start_over()  # what was refused as ahead of the old time may have happened
        if abs(by) > JUMP_S:
            self._changed()  # the same lines are now older or newer
        return abs(by) > JUMP_S

    def _catch_up(self, deadline: float | None) -> None:
        """Read what is new; with a deadline (of the steady clock), stop there, but never before one chunk."""
        while self._tail.behind or not self._whole:
            if self._tail.behind:
                self._take(self._tail.step())
            else:
                self._reach_back()
            if self._stopping.is_set() or (deadline is not None and time.monotonic() >= deadline):
                return

    def _reach_back(self) -> None:
        """Read older files: first as far as the block's chain needs, then the 7 days."""
        now = self._clock()
        with self._lock:
            since = self._tally.blocks.since_pause()
        self._tail.reach(now - FIVE_HOURS_S if since is None else since - FIVE_HOURS_S)
        if self._tail.behind:
            return
        self._chained = True
        self._ready.set()  # the block is exact: nobody need wait for the week
        self._tail.reach(now - WEEK_S)
        if self._tail.behind:
            return
        self._whole = True
        self._changed()

    def _take(self, lines: list[bytes]) -> None:
        if self._denied is not None:
            for denial in filter(None, map(turn.denial, lines)):
                self._denied(denial)
        turns = [each for line in lines for each in turn.parse(line, self._tally.refused)]
        if not turns:
            return
        now = self._clock()
        with self._lock:
            changed = [self._tally.add(each, now) for each in turns]
            self._tally.tidy(now)
            refused = self._tally.refused.news()
        if refused:
            _log.warning("transcripts: lines not counted: %s", refused)
        if any(changed):
            self._changed()
