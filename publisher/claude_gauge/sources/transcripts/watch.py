"""File events as hints for the reader, and whether they are reliable; the scan finds what they miss."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import queue
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventQueue

_log = logging.getLogger(__name__)
# Without the filter our own reading would wake us up: opening and closing a file are events, too.
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
_WAKE_S = 60.0  # the observer's own idle wake-up

BREATH_S = 0.1  # no two payloads go out closer together
AGAIN_S = 60.0
_ANYTHING = 0x00000100  # IN_CREATE: some event has to be named
_LOOKS = 2  # that find folders unwatched before that is believed

Hint = Callable[[str | None], None]
Identity = tuple[int, int]


class Hints:
    """A queue of paths; None in it says that some were lost, an empty one only wakes the reader."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._heard_at = 0.0
        self._over = threading.Event()

    def put(self, hint: str | None) -> None:
        """Give a hint, from any thread."""
        self._queue.put(hint)

    def end(self) -> None:
        """Keep nobody waiting any more."""
        self._over.set()
        self._queue.put("")

    def take(self, wait_s: float) -> tuple[list[str], bool]:
        """Return all paths that were hinted at, once there is one or the time is up, and whether some were lost.

        Under a stream of events it rests first, so that many are taken at a time.
        """
        if wait_s and time.monotonic() - self._heard_at < BREATH_S:
            self._over.wait(BREATH_S)
        paths, lost = list[str](), False
        try:
            hint = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            while True:
                if hint:
                    paths.append(hint)
                    self._heard_at = time.monotonic()
                lost = lost or hint is None
                hint = self._queue.get_nowait()
        except queue.Empty:
            return paths, lost


class EventHealth:
    """Compares scans with hints; times in seconds of one steady clock.

    An event may be on its way when a scan finds its file, so a file is only suspect until the next scan: what nothing
    reported by then was missed.
    """

    def __init__(self) -> None:
        self._suspects: set[str] = set()
        self._lost_at: float | None = None

    @property
    def lost(self) -> bool:
        """Whether events go missing at present."""
        return self._lost_at is not None

    def hinted(self, path: str) -> None:
        """Note that an event named this file."""
        self._suspects.discard(path)

    def found(self, grown: set[str]) -> None:
        """Note files that a scan found grown before any event named them."""
        self._suspects = grown

    def judge(self, now: float) -> bool:
        """Decide, right before a scan; return whether trust was lost by this."""
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


class Watch:
    """Calls `hint` with each path that something happened to, or None when events were lost."""

    def __init__(self, hint: Hint) -> None:
        self._hint = hint
        self.observers: dict[Path, tuple[Identity, BaseObserver]] = {}
        self._lost = _LostEvents(hint)
        logging.getLogger("watchdog").addHandler(self._lost)
        logging.getLogger("watchdog").propagate = False
        self._unwatched: set[Path] = set()
        self._short = 0
        self._shortage = ""
        # Watchdog says this of folders that appear while it looks through their parent; it does no harm.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)

    @property
    def trouble(self) -> str:
        """Why events cannot be relied on; empty where they can."""
        if self._unwatched:
            return "no file events"
        return self._shortage if self._short >= _LOOKS else ""

    def tend(self, roots: Sequence[Path]) -> bool:
        """Watch every root that exists, again where it was replaced or its observer died; return whether any was."""
        began = False
        for root in roots:
            identity = _identity(root)
            known = self.observers.get(root)
            if known and known[0] == identity and known[1].is_alive() and _emitting(known[1]):
                continue
            if known:
                self._end(root)
            if identity:
                began = self._begin(root, identity) or began
            else:
                self._unwatched.discard(root)
        return began

    def renew(self) -> None:
        """Begin again at the next `tend`: where events go missing, a thread of an observer may have died unseen."""
        for root in list(self.observers):
            self._end(root)

    def cover(self, folders: int) -> None:
        """Compare the number of folders with the watches that the kernel holds.

        Watchdog says nothing of folders that it could not watch. One that was only just made may still be on its way,
        so it takes two looks.
        """
        watches = _watches()
        self._short = self._short + 1 if self.observers and watches is not None and watches < folders else 0
        if self._short == _LOOKS:
            at_limit = _at_watch_limit()
            self._shortage = "watch limit reached" if at_limit else "folders without events"
            how = "can be watched (see fs.inotify.max_user_watches)" if at_limit else "give file events"
            _log.warning("only %s of %d folders %s: looking every second instead", watches, folders, how)
            if not at_limit:
                self.renew()

    def _begin(self, root: Path, identity: Identity) -> bool:
        observer: BaseObserver | None = None
        try:
            # Watchdog does not follow a link, not even as the root.
            real = os.path.realpath(root)
            handler = _Handler(self._hint, str(root), real)
            observer = _Direct(handler)
            observer.schedule(handler, real, recursive=True, event_filter=_WANTED)
            observer.start()
        except OSError as error:
            if observer:
                observer.stop()  # it has a thread already
            if root not in self._unwatched:
                _log.warning("cannot watch %s (%s): looking every second instead", root, error.strerror or error)
            self._unwatched.add(root)
            return False
        self._unwatched.discard(root)
        self.observers[root] = (identity, observer)
        return True

    def _end(self, root: Path) -> None:
        _, observer = self.observers.pop(root)
        observer.stop()
        observer.join(5)

    def stop(self) -> None:
        """End all threads."""
        logging.getLogger("watchdog").removeHandler(self._lost)
        self.renew()


class _Handler(FileSystemEventHandler):
    """Passes on what may concern transcripts, by the root's own name where that is a link."""

    def __init__(self, hint: Hint, root: str, real: str) -> None:
        self._hint = hint
        self._root, self._real = root, real

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.dest_path or event.src_path)
        if event.is_directory or path.endswith(".jsonl"):
            self._hint(self._root + path[len(self._real) :])


class _Direct(Observer):  # type: ignore[misc, valid-type] # which class it is depends on the system
    """Handles events in the thread that reads them: handing each to a thread of its own costs more than our work."""

    def __init__(self, handler: _Handler) -> None:
        super().__init__(timeout=_WAKE_S)
        self._direct = _Hands(handler)

    @property
    def event_queue(self) -> EventQueue:
        """What the reading thread puts events into."""
        return self._direct


class _Hands(EventQueue):
    def __init__(self, handler: _Handler) -> None:
        super().__init__()
        self._handler = handler

    def put(self, item: Any, *how: Any, **more: Any) -> None:  # noqa: ANN401 - as the class above has it
        if item is BaseObserver.stop_event:
            super().put(item, *how, **more)
        else:
            self._handler.dispatch(item[0])


class _LostEvents(logging.Handler):
    """Takes what watchdog logs: an overflow of the kernel's queue is reported by a log line alone.

    The rest is for developers: a folder that goes away while its watch ends is an error there, and nothing to us.
    """

    def __init__(self, hint: Hint) -> None:
        super().__init__(logging.WARNING)
        self._hint = hint

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        if "overflow" in record.getMessage():
            self._hint(None)
        else:
            _log.debug("watchdog: %s", record.getMessage())


def _identity(root: Path) -> Identity | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _emitting(observer: BaseObserver) -> bool:
    return all(emitter.is_alive() for emitter in observer.emitters)


def _watches() -> int | None:
    """Count the folders that this process watches by inotify; None where that is unknown."""
    try:
        descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are what is wanted
    except OSError:
        return None
    count = 0
    for name in descriptors:
        with contextlib.suppress(OSError):  # closed since, by another thread or by the listing itself
            if str(Path("/proc/self/fd", name).readlink()) == "anon_inode:inotify":
                count += Path("/proc/self/fdinfo", name).read_bytes().count(b"inotify wd:")
    return count


def _at_watch_limit() -> bool:
    """Return whether the kernel refuses one more watch."""
    try:
        from watchdog.observers.inotify_c import inotify_add_watch, inotify_init  # noqa: PLC0415 - Linux only
    except ImportError:  # no Linux
        return False
    descriptor = inotify_init()
    if descriptor < 0:
        return False
    try:
        return inotify_add_watch(descriptor, b"/", _ANYTHING) < 0 and ctypes.get_errno() == errno.ENOSPC
    finally:
        os.close(descriptor)
