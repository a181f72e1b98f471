"""The source of the plan's figures and of `waiting`, read from the files of the statusline and the hooks."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Health, Reading, earliest
from claude_gauge.counting.turn import Denial
from claude_gauge.hooks import quick_json, spool
from claude_gauge.hooks.spool import EVENTS_FILE, FOLDER, HOOKS, STATUS
from claude_gauge.hooks.statusline import SEVEN_DAYS_S, number
from claude_gauge.sources.statusline import plan_figures, waiting
from claude_gauge.sources.statusline.waiting import (
    DENIAL,
    MAIN,
    ClientEvent,
    Patience,
    Process,
    Story,
    read_event,
)
from claude_gauge.system.atomic_file import StateFile
from claude_gauge.system.file_events import Hints, Watch

log = logging.getLogger(__name__)
FILE = "plan-figures.json"
HALF_WRITTEN_S = 600.0
RECONCILE_S = 5.0  # events are hints; looking at one small folder is the truth
REST, LONGEST_REST_S = 4, 0.1  # after a look, so many times as long as it took
KEPT_S = SEVEN_DAYS_S + 86400.0
TAIL_BYTES = 1 << 19  # of a session's events: thousands of tool calls, far more than a question stays open for
QUIET_S = 86400.0  # a session's events are removed when it said nothing for so long and asks nothing
BEGINNING_BYTES = 256
KEPT_DENIALS, DENIALS_S = 200, 86400.0


Stamp = tuple[int, int, int]  # what of a file changes when it does: inode, size, time


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns


class SessionLog:
    """One session's file of events, read as it grows, and the story that they make.

    A file is recognised by its beginning: its inode number may be given to the next one at once.
    """

    def __init__(self) -> None:
        self.story = Story()
        self.stamp: Stamp | None = None
        self._beginning = b""
        self._offset = 0

    def quiet(self, now: float) -> bool:
        """Return whether the session was silent for a day and asks nothing."""
        return self.stamp is not None and now - self.stamp[2] / 1e9 > QUIET_S and not self.story.session.questions

    def read(self, path: str) -> tuple[list[ClientEvent], bool]:
        """Return the events that are new, and whether it was another file before. Raises OSError."""
        with open(path, "rb", buffering=0, opener=spool.at_once) as file:
            status, beginning = os.fstat(file.fileno()), file.read(BEGINNING_BYTES) or b""
            size, self.stamp, ours = status.st_size, _stamp(status), os.geteuid() in {0, status.st_uid}
            again = size < self._offset or not self._beginning or not beginning.startswith(self._beginning)
            self._beginning, self._offset = beginning, max(0, size - TAIL_BYTES) if again else self._offset
            file.seek(self._offset)
            whole, newline, _ = (file.read(max(0, size - self._offset)) or b"").rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        events = [event for line in whole.splitlines() if line and (event := _event(line)) is not None]
        return events if ours else [replace(event, process=None) for event in events], again  # others' may be hidden


def _event(line: bytes) -> ClientEvent | None:
    try:
        record = quick_json.loads(line)
    except (ValueError, RecursionError):
        return None  # a full disk cut it off
    event = read_event(record) if isinstance(record, dict) else None
    if event is not None and event.process is not None and event.process[2] != _namespace():
        return replace(event, process=None)  # in a container, say: its number means another process here
    return event


@functools.cache
def _namespace() -> object:
    us = spool.process(os.getpid())
    return us and us[1][2]


def _runs(process: Process) -> bool:
    running = spool.process(process[0])
    return running is not None and running[1] == list(process)


def _statusline_times(
    before: Mapping[str, float], fresh: Mapping[str, Mapping[str, object]], statuses: Iterable[str]
) -> dict[str, float]:
    """Return when each session's statusline ran last."""
    stamps = {name.removesuffix(STATUS): number(content.get("at")) for name, content in fresh.items()}
    sessions = {name.removesuffix(STATUS) for name in statuses}
    return {name: at for name, at in {**before, **stamps}.items() if at is not None and name in sessions}


WAITING_MINUTES = 10.0  # until an unanswered wait is dropped, where the end of its client can't be seen


class Plan:
    """Watches the folder: a file that comes, grows or is replaced reaches the reading within milliseconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, *, look_every_s: float = RECONCILE_S
    ) -> None:
        self._state_dir = settings.state_dir.expanduser()
        self._folder = self._state_dir / FOLDER
        minutes = settings.waiting_minutes  # a set one holds even while the client's process runs
        self._patience = Patience((minutes or WAITING_MINUTES) * 60, minutes * 60 if minutes else math.inf)
        self._clock = clock
        self._look_every_s = look_every_s
        self._lock = threading.RLock()  # the transcripts' thread reports denials
        self._accounts: plan_figures.Accounts = ()
        self._saved: plan_figures.Accounts = ()
        self._file = StateFile(self._state_dir / FILE, "after a restart the plan's past windows are unknown")
        self._kept = False  # on the disk
        self._logs: dict[str, SessionLog] = {}
        self._denials: deque[tuple[str, ClientEvent]] = deque(maxlen=KEPT_DENIALS)
        self._statuses: dict[str, Stamp] = {}
        self._statusline_at: dict[str, float] = {}
        self._hooks = False
        self._why = ""
        self._last: Reading | None = None
        self._hints = Hints(breath_s=0)  # it rests by itself, as long as a look takes
        self._watch = Watch(self._hints, lambda path: not path.endswith(".tmp"), level=logging.DEBUG)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Look once, so that the first reading is a true one, then follow."""
        self.load()
        self._thread = threading.Thread(target=self._follow, args=(changed,), name="plan", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Look once, without following."""
        self._accounts = self._saved = plan_figures.from_json(spool.load(str(self._state_dir / FILE)))
        self._kept = bool(self._accounts) and self._file.exists()
        self._look()
        self._save()
        self._last = self.read(self._clock())

    def windows(self) -> tuple[plan_figures.WindowUse, ...]:
        """Return the 5-hour windows of the account that reported last, oldest first."""
        return self._accounts[-1].five_hour if self._accounts else ()

    def read(self, now: float) -> Reading:
        """Return the plan's figures and `waiting`; touches no disk."""
        with self._lock:
            reports = bool(self._why or self._statusline_at or self._accounts)
            health = Health("statusline", not self._why, self._why, degraded=bool(self._why))
            return Reading(
                plan_5h=plan_figures.present(self._accounts, "five_hour", now),
                plan_7d=plan_figures.present(self._accounts, "seven_day", now),
                limit=plan_figures.fullest(self._accounts, now),
                waiting=self._waits(now) if self._hooks and not self._why else None,
                sources={"plan": health} if reports else {},
            )

    def _waits(self, now: float) -> bool:
        sessions = [each.story.session for each in self._logs.values()]
        return any(waiting.open_questions(session, now, self._patience) for session in sessions)

    def due(self, now: float) -> float | None:
        """Return when a window resets or a wait is dropped."""
        with self._lock:
            sessions = [each.story.session for each in self._logs.values()]
            times = [waiting.due(session, now, self._patience) for session in sessions]
            return earliest(plan_figures.due(self._accounts, now), *times)

    def denied(self, denial: Denial) -> None:
        """Take in a denied tool call from a transcript: no hook fires for "No" and Escape."""
        if abs(denial.at - self._clock()) >= DENIALS_S:
            return  # history
        session, agent = spool.safe(denial.session), spool.safe(denial.agent or MAIN)
        event = ClientEvent(denial.at, DENIAL, agent, kind=denial.kind)
        with self._lock:
            self._denials.append((session, event))
            if session in self._logs:
                self._logs[session].story.add([event])
        self._hints.put("")

    def stop(self) -> None:
        """End the watching."""
        self._stopped.set()
        self._hints.end()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def _follow(self, changed: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._watch.tend([self._folder])
                self._look()
                reading, self._last = self._last, self.read(self._clock())
                if reading != self._last:
                    changed()
                self._save()  # last: the disk may take its time, a lamp not
            except Exception:  # nothing may end the watch: logged in full, then it goes on
                log.exception("following %s failed; going on", self._folder)
            # Hooks may come by the dozen a second.
            self._stopped.wait(min(LONGEST_REST_S, REST * (time.monotonic() - began)))
            try:
                self._hints.take(self._look_every_s)
            except OSError as error:  # as of too many open files: without hints it looks now and then
                log.debug("cannot wait for file events: %s", error)
                self._stopped.wait(self._look_every_s)
        self._watch.renew()
        self._hints.close()

    def _look(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._read_folder()
            why = _hindrance(self._folder)
        except OSError as error:
            log.debug("cannot read %s: %s", self._folder, error.strerror)
            why = "state folder unreadable"
        if why and why != self._why:
            log.warning("%s: %s; plan figures are old and waiting is unknown", why, self._folder)
        self._why = why

    def _read_folder(self) -> None:
        """Read what has changed; the lock is held only while it is taken in, for a disk may take its time."""
        now, forgotten = self._clock(), self._kept and not self._file.exists()  # `calibrate --forget`
        with os.scandir(self._folder) as entries:
            stamps = {entry.name: _stamp(status) for entry in entries if (status := _kept(entry, now)) is not None}
        statuses = {name: stamp for name, stamp in stamps.items() if name.endswith(STATUS)}
        fresh = {
            name: spool.load(f"{self._folder}/{name}")
            for name in statuses
            if statuses[name] != self._statuses.get(name)
        }
        sessions = [name.removesuffix(EVENTS_FILE) for name in stamps if name.endswith(EVENTS_FILE)]
        logs = {session: self._logs.get(session) or SessionLog() for session in sessions}
        changed = [session for session in sessions if logs[session].stamp != stamps[session + EVENTS_FILE]]
        news = {session: self._events(session, logs[session]) for session in changed}
        ended = [session for session, each in logs.items() if not all(map(_runs, each.story.session.processes))]
        with self._lock:
            if forgotten:
                self._accounts, self._saved, self._kept = (), (), False
            self._accounts = plan_figures.enter(self._accounts, map(plan_figures.figures, fresh.values()))
            self._hooks, self._logs, self._statuses = HOOKS in stamps, logs, statuses
            self._statusline_at = _statusline_times(self._statusline_at, fresh, statuses)
            for session, (events, again) in news.items():
                self._take(session, events, again=again)
            for session in ended:
                logs[session].story.add([ClientEvent(now, "SessionEnd")])
            for session in logs.keys() & self._statusline_at.keys():
                logs[session].story.add_statusline(self._statusline_at[session])
            quiet = [session for session, each in logs.items() if each.quiet(now)]
        for session in quiet:
            with contextlib.suppress(OSError):
                spool.remove(f"{self._folder}/{session}{EVENTS_FILE}")

    def _events(self, session: str, held: SessionLog) -> tuple[list[ClientEvent], bool]:
        try:
            return held.read(f"{self._folder}/{session}{EVENTS_FILE}")
        except OSError:  # gone, or not to be read: the other sessions' are
            return [], False

    def _take(self, session: str, events: list[ClientEvent], *, again: bool) -> None:
        held = self._logs[session]
        if again:
            held.story = Story()
            events = [*events, *(event for whose, event in self._denials if whose == session)]
        held.story.add(events)

    def _save(self) -> None:
        accounts = self._accounts
        if accounts == self._saved:
            return
        if self._file.write(json.dumps(plan_figures.to_json(accounts)).encode()):
            self._kept = True
        self._saved = accounts


def forget(state_dir: Path) -> list[Path]:
    """Remove the stored plan figures and the statuslines' files; return what was removed. Raises OSError."""
    stored = [state_dir / FILE, *(state_dir / FOLDER).glob(f"*{STATUS}")]
    removed = [path for path in stored if path.exists()]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def _kept(entry: os.DirEntry[str], now: float) -> os.stat_result | None:
    """Return a file's status; None for what is gone, is not ours, or is so old that it is removed here."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    half_written = entry.name.endswith(".tmp")  # its writer was killed
    if now - status.st_mtime > (HALF_WRITTEN_S if half_written else KEPT_S) and entry.name != HOOKS:
        with contextlib.suppress(OSError):  # a folder that can only be read is read all the same
            spool.remove(entry.path)
        return None
    ours = stat.S_ISREG(status.st_mode) and entry.name.endswith((STATUS, EVENTS_FILE))
    return status if ours or entry.name == HOOKS else None


def _hindrance(folder: Path) -> str:
    """Return why Claude Code's calls can't write there; "" where they can."""
    if not (folder.stat().st_mode & 0o200 and os.access(folder, os.W_OK | os.X_OK)):
        return "state folder not writable"
    space = os.statvfs(folder)
    return "state disk full" if space.f_bavail == 0 or (space.f_files and space.f_favail == 0) else ""
