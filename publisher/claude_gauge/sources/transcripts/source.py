"""The transcripts as a source: one thread reads them, the counter counts them.

What is written now is read first, always; history behind it, newest files first, and in child processes where there
is much of it. Two moments matter: the block is exact when all that was written since the last pause of over 5 hours
is read (`_chained`), and the week when the last 7 days are, too (`_whole`). Where no such pause is found in the week,
reading goes on back to one: the block's start depends on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from claude_gauge.counting.counter import Counter
from claude_gauge.counting.reading import READING_HISTORY, Health, Reading, Traffic
from claude_gauge.counting.sums import FIVE_HOURS_S, WEEK_S
from claude_gauge.counting.turn import Denial, Turn, denial, parse
from claude_gauge.sources.transcripts.follower import LONGEST
from claude_gauge.sources.transcripts.readers import TASK_BYTES, Readers
from claude_gauge.sources.transcripts.tail import Tail
from claude_gauge.system.file_events import EventHealth, Hints, Watch

log = logging.getLogger(__name__)

NAME = "transcripts"
SCAN_S, LONGEST_SCAN_S = 3.0, 60.0
SCAN_SHARE = 1000  # a scan may take one part in so many of the time
POLL_S = 1.0
FIRST_S = 0.3  # what the first payload waits for at most; the rest of the history follows behind it
RECENT_S = 6 * 60.0  # what the needles show, and a minute
MUCH_BYTES = 24 << 20  # history of more than this is read by child processes
JUMP_S = 2.0
_DAY_S = 86400.0
_ROUNDED_S = 1e-3


class Transcripts:
    """Reads Claude Code's transcripts below `roots`; `clock` gives epoch seconds.

    `denied` is called, from the reading thread, for each tool call that the person did not let run.
    Another source may count into the same counter (`fresh` makes it, now and when all is counted again) under `lock`.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        clock: Callable[[], float] = time.time,
        *,
        fresh: Callable[[], Counter] = Counter,
        lock: threading.Lock | None = None,
        denied: Callable[[Denial], None] | None = None,
    ) -> None:
        self._roots = list(roots)
        self._clock = clock
        self._fresh = fresh
        self._lock = lock or threading.Lock()
        self._denied = denied
        self._hints = Hints()
        self._watch = Watch(self._hints, lambda path: path.endswith(".jsonl"))
        self._readers: Readers | None = None
        self._length_logged = False
        self._childless = False  # readers failed: history is read here
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._event_health = EventHealth()
        self._reported: Health | None = None
        self._rooted = True  # some root is there
        self._offset = clock() - time.monotonic()
        self._start_over()

    def _start_over(self) -> None:
        self._end_readers()
        with self._lock:
            now = self._clock()
            self._counter = self._fresh()
            self._counter.read_history()
            self._tail = Tail(self._roots, now - WEEK_S)
            self._needed = now - FIVE_HOURS_S  # the block is exact when all later than this is read
            self._chained = self._whole = False

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to follow; returns when the block is read, or, where that takes long, the last minutes are.

        A third of a second at most.
        """
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
            self._hints.close()

    def load(self) -> None:
        """Read all that matters now, without following it; a second call reads what came since."""
        self._rooted = any(root.is_dir() for root in self._roots)
        self._tail.scan(self._clock() - RECENT_S)
        while (more := self._advance()) or not self._whole:
            if not more:
                self._hints.take(POLL_S)  # the readers are at work
        self._end_readers()
        self._hints.close()

    def read(self, now: float) -> Reading:
        """Return what is counted so far; the block only once its whole chain is read, a part of it says nothing."""
        with self._lock:
            self._counter.tidy(now)
            traffic = self._counter.traffic(now)
            health = self._health()
            if health.ok and self._whole and traffic.newest_at is None and not self._counter.refused:
                health = Health(NAME, ok=False, why="no transcripts")  # sessions may write none: 0 would be a guess
            return Reading(
                traffic=traffic,
                block=self._counter.block(now) if self._chained else None,
                week_tokens=self._counter.week(now) if self._whole else None,
                sources={
                    "tach": health,
                    "fuel": health if self._chained else Health(NAME, ok=False, why=READING_HISTORY, degraded=True),
                    "thinking": _thinking(health, traffic),
                },
            )

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return each minute's tokens, None until all of them are read."""
        with self._lock:
            return self._counter.blocks.minutes(since, now) if self._whole else None

    def due(self, now: float) -> float | None:
        """Return when a sum changes by the passing of time."""
        with self._lock:
            return self._counter.due(now) if self._chained else self._counter.traffic_due(now)

    def _health(self) -> Health:
        if not self._rooted:
            return Health(NAME, ok=False, why="no transcripts folder")
        if self._tail.unreadable:
            return Health(NAME, ok=False, why=f"{self._tail.unreadable} unreadable", degraded=True)
        if self._left_out:
            return Health(NAME, ok=False, why=self._left_out, degraded=True)
        if self._polling:
            return Health(NAME, ok=False, why=self._watch.trouble or "file events missed", degraded=True)
        return Health(NAME)

    @property
    def _left_out(self) -> str:
        """Say how many lines were not counted as they are: too long, or with times or counts that can't be."""
        long, odd = self._tail.skipped, len(self._counter.refused)
        if long and odd:
            return f"{long + odd} lines not counted"
        return f"{long} lines too long" if long else f"{odd} lines not believed" if odd else ""

    @property
    def _polling(self) -> bool:
        return bool(self._watch.trouble) or self._event_health.lost

    def _tend(self) -> bool:
        """Keep up the watch; return whether some of it is new."""
        self._rooted = any(root.is_dir() for root in self._roots)
        return self._watch.tend(self._roots)

    def _run(self) -> None:
        begun, trouble = False, ""
        while not self._stopping.is_set():
            try:
                self._tend()
                if not begun:
                    self._begin()
                    begun = True
                self._follow()
            except Exception as error:  # nothing may end the watch: it goes on with a scan
                if isinstance(error, OSError):  # such as too many open files: it may last
                    log.log(
                        logging.DEBUG if str(error) == trouble else logging.WARNING,
                        "following the transcripts failed (%s); trying again each second",
                        error,
                    )
                else:
                    log.exception("following the transcripts failed; going on in a second")
                trouble = str(error)
                self._hints.put(None)
                self._stopping.wait(POLL_S)
        self._watch.renew()
        self._hints.close()
        self._end_readers()

    def _begin(self) -> None:
        self._tail.scan(self._clock() - RECENT_S)
        newest = self._tail.newest()
        if newest is not None:
            self._tail.hint(newest.path)  # however old it is: it knows the last model
        self._reported = self._health()

    def _follow(self) -> None:
        next_scan = time.monotonic() + SCAN_S
        idle = False
        while not self._stopping.is_set():
            lost, jumped = self._listen(next_scan, idle=idle), self._clock_jumped()
            now = time.monotonic()
            due = now >= next_scan or (idle and self._tend())  # a root may come, though a scan takes long
            if lost or jumped or due:
                self._reconcile(lost=lost)
                next_scan = time.monotonic() + self._pause(time.monotonic() - now)
            idle = not self._advance()

    def _pause(self, took: float) -> float:
        if self._polling:
            return max(POLL_S, took * 20)
        return min(LONGEST_SCAN_S, max(SCAN_S, took * SCAN_SHARE))

    def _listen(self, until: float, *, idle: bool) -> bool:
        """Wait for hints, or for readers, and pass the hints on; return whether some were lost."""
        paths, lost = self._hints.take(min(SCAN_S, max(0.0, until - time.monotonic())) if idle else 0.0)
        for path in paths:
            self._event_health.hinted(path)
            self._tail.hint(path)
        return lost

    def _reconcile(self, *, lost: bool) -> None:
        """Scan, and check that the watch reports everything."""
        if lost:
            log.info("file events were lost: looking through all files")
        if self._event_health.judge(time.monotonic()):
            self._watch.renew()
        began = self._tend()
        grown = self._tail.scan(self._clock() - RECENT_S)
        self._event_health.suspect(grown if self._whole and not (lost or began) else set())
        health, self._reported = self._reported, self._health()
        if health != self._reported:
            self._changed()

    def _clock_jumped(self) -> bool:
        offset = self._clock() - time.monotonic()
        by, self._offset = offset - self._offset, offset
        if by < -_DAY_S:
            log.warning("the clock was set back by %.1f days: counting again", -by / _DAY_S)
            self._start_over()  # in that future, what is present now was old and forgotten
        elif by > JUMP_S and self._counter.refused:
            log.info("the clock was set forward by %.0f s: counting again", by)
            self._start_over()  # what was refused as ahead of the old time may have happened
        if abs(by) > JUMP_S:
            self._changed()  # the same lines are now older or newer
        return abs(by) > JUMP_S

    def _advance(self) -> bool:
        """Read one more piece, what is new first; return whether there is more to do at once."""
        if self._tail.live:
            self._read_new()
            return True
        return self._read_history()

    def _read_new(self) -> None:
        lines = self._tail.step()
        if self._denied is not None:
            for each in filter(None, map(denial, lines)):
                self._denied(each)
        turns = self._turns(lines)
        if turns and min(turn.at for turn in turns) < self._clock() - RECENT_S:
            self._tail.enough()
        if self._count(turns):
            self._changed()

    def _turns(self, lines: Sequence[bytes]) -> list[Turn]:
        return [turn for line in lines for turn in parse(line, self._counter.refused)]

    def _read_history(self) -> bool:
        if self._readers is None and not self._childless and self._tail.backlog > MUCH_BYTES:
            self._readers = Readers(lambda: self._hints.put(""), self._counter.files_before(self._clock())).start()
            self._ready.set()  # the last minutes are exact, and the block will take a while
        if self._readers is not None:
            worked = self._have_read(self._readers)
        else:
            worked = self._tail.behind
            self._count_history([(turn, ()) for turn in self._turns(self._tail.step())])
        return self._conclude() or worked or (self._chained and self._tail.peek())

    def _have_read(self, readers: Readers) -> bool:
        """Give the readers what they can take, and count what they read; return whether there was something."""
        while readers.wants_tasks and (task := self._tail.take(TASK_BYTES)):
            readers.give(task)
        answer = readers.take()
        if answer is not None:
            self._tail.give_back(answer.task, unread=answer.unread, skipped=answer.skipped)
            for why, count in answer.refused.items():
                self._counter.refused.add(why, count)
            if answer.filed:
                with self._lock:
                    self._counter.add_filed(answer.filed, answer.newest, self._clock())
            self._count_history(answer.turns, filed=bool(answer.filed))
        elif readers.idle:
            self._childless = readers.failed
            self._end_readers()
            return True
        return answer is not None

    def _end_readers(self) -> None:
        if self._readers is not None:
            self._readers.stop()
            self._readers = None

    def _count_history(self, turns: Sequence[tuple[Turn, tuple[float, ...]]], *, filed: bool = False) -> None:
        now = self._clock()
        with self._lock:
            for turn, times in turns:
                self._counter.add_history(turn, times, now)
            self._counter.tidy(now)
        self._log_what_was_left_out()
        week = self._whole and (filed or bool(turns))
        if week or any(max(turn.at, *times, 0) > now - RECENT_S for turn, times in turns):
            self._changed()

    def _count(self, turns: Sequence[Turn]) -> bool:
        """Count what is new; return whether that changed anything."""
        now = self._clock()
        with self._lock:
            changed = [self._counter.add(turn, now) for turn in turns]
            self._counter.tidy(now)
        self._log_what_was_left_out()
        return any(changed)

    def _log_what_was_left_out(self) -> None:
        refused = self._counter.refused.news()
        if refused:
            log.warning("transcripts: lines not counted: %s", refused)
        if self._tail.skipped and not self._length_logged:
            self._length_logged = True
            log.warning("a line of more than %d MiB was skipped: its figures are not counted", LONGEST >> 20)

    def _conclude(self) -> bool:
        """Note what is exact now; return whether more history has to be read for that."""
        if self._whole or self._tail.read_since > self._needed + _ROUNDED_S or self._tail.live:
            return False
        complete = not self._tail.behind and not self._tail.doubts
        if self._chained and not complete:
            return False
        with self._lock:
            since = self._counter.blocks.since_pause()
        if since is not None and since - FIVE_HOURS_S < self._needed:
            self._needed = since - FIVE_HOURS_S
            self._tail.reach(self._needed)
            return True
        self._chained, self._whole = True, complete
        if complete:
            with self._lock:
                self._counter.history_is_read(self._clock())
        self._ready.set()  # the block is exact: the first payload need not wait for the week
        self._changed()
        return False


def _thinking(health: Health, traffic: Traffic) -> Health:
    """Say whether the thinking is known: what only slows the reading, or makes it less exact, leaves it known."""
    if traffic.thinking == "unknown":
        return Health(NAME, ok=False, why="no thinking in telemetry", degraded=True)
    if not health.ok and not health.degraded:
        return health
    return Health(NAME, why="estimated" if traffic.thinking == "estimated" else "")
