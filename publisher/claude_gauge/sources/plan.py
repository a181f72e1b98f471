"""The source of the plan's own figures and of `waiting`: what the statusline and the hooks left in the state folder."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from claude_gauge import plan_files, plan_seen
from claude_gauge.config import Settings
from claude_gauge.plan_files import FOLDER, HOOKS, STATUS, WAIT
from claude_gauge.plan_window import SEVEN_DAYS_S
from claude_gauge.reading import Health, Reading
from claude_gauge.sources import plan_book
from claude_gauge.sources.folder_hints import FolderHints

log = logging.getLogger(__name__)

HALF_WRITTEN_S = 600.0
RECONCILE_S = 5.0  # events are hints; looking at one small folder is the truth
DIALOG_GONE_S = 2.0  # a statusline can be on its way when the question is put
CLOCK_SLACK_S = 60.0
KEPT_S = SEVEN_DAYS_S + 86400.0


@dataclass(frozen=True, slots=True)
class Wait:
    """One agent of a session waits for the person since `at`."""

    session: str
    at: float
    permission: bool


@dataclass(frozen=True, slots=True)
class Known:
    """All that the folder said when it was last looked at."""

    book: plan_seen.Book = field(default_factory=lambda: plan_seen.EMPTY)
    statuses: Mapping[str, float] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    hooks: bool = False
    why: str = ""


def ends_at(wait: Wait, waiting_s: float) -> float:
    """Tell when an unanswered wait is dropped: no hook fires on Escape."""
    return wait.at + waiting_s


def open_waits(known: Known, now: float, waiting_s: float) -> list[Wait]:
    """List the waits that still stand.

    Claude Code's statusline pauses while a permission dialog is open, so one that ran later says that the
    dialog is gone: by Escape, or granted to a tool that runs on for minutes.
    """
    return [
        wait
        for wait in known.waits
        if now - wait.at >= -CLOCK_SLACK_S and now < ends_at(wait, waiting_s)
        if not (wait.permission and known.statuses.get(wait.session, 0) > wait.at + DIALOG_GONE_S)
    ]


def interpret(known: Known, now: float, waiting_s: float) -> Reading:
    """Say what the folder's content means at `now`."""
    tells = bool(known.why or known.statuses or any(known.book.values()))
    return Reading(
        plan_5h=plan_seen.present(known.book, "five_hour", now),
        plan_7d=plan_seen.present(known.book, "seven_day", now),
        waiting=bool(open_waits(known, now, waiting_s)) if known.hooks else None,
        sources={"plan": Health("statusline", not known.why, known.why, degraded=bool(known.why))} if tells else {},
    )


class Plan:
    """Watches the folder: a file that comes, goes or is replaced reaches the reading within milliseconds."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._state_dir = settings.state_dir.expanduser()
        self._folder = self._state_dir / FOLDER
        self._waiting_s = settings.waiting_minutes * 60
        self._clock = clock
        self._known = Known()
        self._saved = self._known.book
        self._files: dict[str, tuple[tuple[int, int], dict[str, object]]] = {}
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Look once, so that the first reading is a true one, then follow."""
        self.load()
        self._thread = threading.Thread(target=self._follow, args=(changed,), name="plan", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Look once, without following."""
        self._saved = plan_book.load(self._state_dir)
        self._known = Known(self._saved)
        self._look()
        self._save()

    @property
    def seen(self) -> tuple[plan_seen.Seen, ...]:
        """The highest percentage of each 5-hour window that was seen, oldest first."""
        return self._known.book["five_hour"]

    def read(self, now: float) -> Reading:
        """Say what is known; touches no disk."""
        return interpret(self._known, now, self._waiting_s)

    def due(self, now: float) -> float | None:
        """Tell when a window resets or a wait is dropped."""
        reading = self.read(now)
        resets = [window.resets_at for window in (reading.plan_5h, reading.plan_7d) if window]
        drops = [ends_at(wait, self._waiting_s) for wait in open_waits(self._known, now, self._waiting_s)]
        return min(resets + drops, default=None)

    def stop(self) -> None:
        """End the watching."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def _follow(self, changed: Callable[[], None]) -> None:
        hints = FolderHints(self._folder, self._wake.set)
        while not self._stopped:
            try:
                hints.tend()
                before = self.read(self._clock())
                self._look()
                if self.read(self._clock()) != before:
                    changed()
                self._save()  # last: the disk may take its time, a lamp not
            except Exception:  # nothing may end the watch: told in full, then it goes on
                log.exception("following %s failed; going on", self._folder)
            self._wake.wait(RECONCILE_S)
            self._wake.clear()
        hints.stop()

    def _look(self) -> None:
        now = self._clock()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.scandir(self._folder) as entries:
                files = {entry.name: content for entry in entries if (content := self._content(entry, now)) is not None}
        except OSError as error:
            if not self._known.why:
                log.warning("cannot read %s: %s; plan figures and waiting are unknown", self._folder, error.strerror)
            self._known = Known(self._known.book, why="state folder unreadable")
            return
        self._files = {name: self._files[name] for name in files}
        book = _entered(self._known.book, files)
        self._known = Known(book, _statuses(files), _waits(files), HOOKS in files)

    def _content(self, entry: os.DirEntry[str], now: float) -> dict[str, object] | None:
        """Return a file's content, read anew only when it changed; None for what is gone or not ours."""
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        age = now - stat.st_mtime
        if age > (HALF_WRITTEN_S if entry.name.endswith(".tmp") else KEPT_S) and entry.name != HOOKS:
            plan_files.remove(entry.path)  # a killed writer's half file, or a session long over
            return None
        if entry.name != HOOKS and not entry.name.endswith((STATUS, WAIT)):
            return None
        stamp = (stat.st_ino, stat.st_mtime_ns)
        held = self._files.get(entry.name)
        if held is None or held[0] != stamp:
            held = self._files[entry.name] = (stamp, plan_files.load(entry.path))
        return held[1]

    def _save(self) -> None:
        book = self._known.book
        if book == self._saved:
            return
        try:
            plan_book.save(self._state_dir, book)
        except OSError as error:
            log.warning("cannot keep the plan percentages in %s: %s", self._state_dir, error.strerror)
        self._saved = book


def _entered(book: plan_seen.Book, files: Mapping[str, dict[str, object]]) -> plan_seen.Book:
    statuses = [content for name, content in files.items() if name.endswith(STATUS)]
    for slot in plan_seen.EMPTY:
        book = plan_seen.enter(book, slot, filter(None, (plan_seen.from_status(slot, each) for each in statuses)))
    return book


def _statuses(files: Mapping[str, dict[str, object]]) -> dict[str, float]:
    statuses = _timed((name, content) for name, content in files.items() if name.endswith(STATUS))
    return {name.removesuffix(STATUS): at for name, _, at in statuses}


def _waits(files: Mapping[str, dict[str, object]]) -> tuple[Wait, ...]:
    waits = _timed((name, content) for name, content in sorted(files.items()) if name.endswith(WAIT))
    return tuple(Wait(name.partition(".")[0], at, content.get("kind") == "permission") for name, content, at in waits)


def _timed(files: Iterable[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object], float]]:
    return [(name, content, at) for name, content in files if isinstance(at := content.get("at"), int | float)]
