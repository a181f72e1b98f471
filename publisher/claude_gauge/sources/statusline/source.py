"""The source of the plan's own figures and of `waiting`: what the statusline and the hooks left in the state folder."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Reading
from claude_gauge.hooks import spool
from claude_gauge.hooks.limits import SEVEN_DAYS_S
from claude_gauge.hooks.spool import FOLDER, HOOKS, STATUS, WAIT
from claude_gauge.sources.statusline import plan_figures as plan_seen
from claude_gauge.sources.statusline import store as plan_book
from claude_gauge.sources.statusline.folder_watch import FolderHints
from claude_gauge.sources.statusline.interpret import Known, ends_at, interpret, open_waits, understand

log = logging.getLogger(__name__)

HALF_WRITTEN_S = 600.0
RECONCILE_S = 5.0  # events are hints; looking at one small folder is the truth
KEPT_S = SEVEN_DAYS_S + 86400.0


class Plan:
    """Watches the folder: a file that comes, goes or is replaced reaches the reading within milliseconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, *, look_every_s: float = RECONCILE_S
    ) -> None:
        self._state_dir = settings.state_dir.expanduser()
        self._folder = self._state_dir / FOLDER
        self._waiting_s = settings.waiting_minutes * 60
        self._clock = clock
        self._look_every_s = look_every_s
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
            self._wake.wait(self._look_every_s)
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
        self._known = understand(files, self._known.book)

    def _content(self, entry: os.DirEntry[str], now: float) -> dict[str, object] | None:
        """Return a file's content, read anew only when it changed; None for what is gone or not ours."""
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        age = now - stat.st_mtime
        if age > (HALF_WRITTEN_S if entry.name.endswith(".tmp") else KEPT_S) and entry.name != HOOKS:
            with contextlib.suppress(OSError):  # a folder that can only be read is read all the same
                spool.remove(entry.path)  # a killed writer's half file, or a session long over
            return None
        if entry.name != HOOKS and not entry.name.endswith((STATUS, WAIT)):
            return None
        stamp = (stat.st_ino, stat.st_mtime_ns)
        held = self._files.get(entry.name)
        if held is None or held[0] != stamp:
            held = self._files[entry.name] = (stamp, spool.load(entry.path))
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
