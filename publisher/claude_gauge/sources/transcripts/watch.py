"""File events as hints of where to look; what they miss, the scan finds."""

from __future__ import annotations

import contextlib
import logging
import os
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

Hint = Callable[[str | None], None]
Identity = tuple[int, int]


class Watch:
    """Calls `hint` with each path that something happened to, or None when events were lost."""

    def __init__(self, hint: Hint) -> None:
        self._hint = hint
        self._observers: dict[Path, tuple[Identity, BaseObserver]] = {}
        self._lost = _LostEvents(hint)
        logging.getLogger("watchdog").addHandler(self._lost)
        self._unwatched: set[Path] = set()
        self._short = 0
        # Watchdog says this of folders that appear while it looks through their parent; it does no harm.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)

    @property
    def trouble(self) -> str:
        """Why events cannot be relied on; empty where they can."""
        if self._unwatched:
            return "no file events"
        return "watch limit reached" if self._short > 1 else ""

    def tend(self, roots: Sequence[Path]) -> bool:
        """Watch every root that exists, anew where a root was replaced or its observer died; tell whether any was."""
        began = False
        for root in roots:
            identity = _identity(root)
            known = self._observers.get(root)
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
        """Begin anew at the next `tend`: where events go missing, a thread of an observer may have died unseen."""
        for root in list(self._observers):
            self._end(root)

    def cover(self, folders: int) -> None:
        """Compare the number of folders with the watches that the kernel holds: beyond its limit it takes no more.

        Watchdog says nothing of folders that it could not watch. One that was only just made may still be on its way,
        so it takes two looks.
        """
        watches = _watches()
        was = self.trouble
        self._short = self._short + 1 if self._observers and watches is not None and watches < folders else 0
        if self.trouble and not was:
            _log.warning(
                "only %s of %d folders can be watched (see fs.inotify.max_user_watches): looking every second instead",
                watches,
                folders,
            )

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
        self._observers[root] = (identity, observer)
        return True

    def _end(self, root: Path) -> None:
        _, observer = self._observers.pop(root)
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
    """An overflow of the kernel's queue is told by a log line alone."""

    def __init__(self, hint: Hint) -> None:
        super().__init__(logging.WARNING)
        self._hint = hint

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._hint(None)


def _identity(root: Path) -> Identity | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _emitting(observer: BaseObserver) -> bool:
    return all(emitter.is_alive() for emitter in observer.emitters)


def _watches() -> int | None:
    """Count the folders that this process watches by inotify; None where that cannot be told."""
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
