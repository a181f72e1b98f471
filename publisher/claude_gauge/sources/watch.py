"""File events as hints of where to look; what they miss, the scan finds."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

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
from watchdog.observers.api import BaseObserver

_log = logging.getLogger(__name__)
# Without the filter our own reading would wake us up: opening and closing a file are events, too.
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
_WAKE_S = 60.0  # the observer's own idle wake-up

Hint = Callable[[str | None], None]


class Watch:
    """Calls `hint` with each path that something happened to, or None when events were lost."""

    def __init__(self, hint: Hint) -> None:
        self._hint = hint
        self._observers: dict[Path, tuple[tuple[int, int], BaseObserver]] = {}
        self._lost = _LostEvents(hint)
        logging.getLogger("watchdog").addHandler(self._lost)
        self.trouble = ""

    def tend(self, roots: Sequence[Path]) -> None:
        """Watch every root that exists; begin anew where a root was replaced or its observer died."""
        for root in roots:
            identity = _identity(root)
            known = self._observers.get(root)
            if known and known[0] == identity and known[1].is_alive() and _emitting(known[1]):
                continue
            if known:
                self._end(root)
                self._hint(None)
            if identity:
                self._begin(root, identity)

    def _begin(self, root: Path, identity: tuple[int, int]) -> None:
        observer = Observer(timeout=_WAKE_S)
        try:
            observer.schedule(_Handler(self._hint), str(root), recursive=True, event_filter=_WANTED)
            observer.start()
        except OSError as error:
            self.trouble = "no file events"
            _log.warning("cannot watch %s (%s): looking every second instead", root, error.strerror or error)
            return
        self.trouble = ""
        self._observers[root] = (identity, observer)

    def _end(self, root: Path) -> None:
        _, observer = self._observers.pop(root)
        observer.stop()
        observer.join(5)

    def stop(self) -> None:
        """End all threads."""
        logging.getLogger("watchdog").removeHandler(self._lost)
        for root in list(self._observers):
            self._end(root)


class _Handler(FileSystemEventHandler):
    def __init__(self, hint: Hint) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.dest_path or event.src_path)
        if event.is_directory or path.endswith(".jsonl"):
            self._hint(path)


class _LostEvents(logging.Handler):
    """An overflow of the kernel's queue is told by a log line alone."""

    def __init__(self, hint: Hint) -> None:
        super().__init__(logging.WARNING)
        self._hint = hint

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._hint(None)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _emitting(observer: BaseObserver) -> bool:
    return all(emitter.is_alive() for emitter in observer.emitters)
