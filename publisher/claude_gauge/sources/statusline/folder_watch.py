"""Tells at once when a file comes, goes, grows or is replaced in one small folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

_IDLE_WAKE_S = 60.0
# Not the opened and closed ones, which our own reading makes, too.
_WANTED: list[type[FileSystemEvent]] = [FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent]


class FolderHints(FileSystemEventHandler):
    """Calls `hint` from a thread of its own; where events can't be had it stays silent, so look now and then, too."""

    def __init__(self, folder: Path, hint: Callable[[], None]) -> None:
        self._folder = folder
        self._hint = hint
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on that something happened, unless a writer only begins."""
        if event.event_type == "moved" or not str(event.src_path).endswith(".tmp"):
            self._hint()

    def tend(self) -> None:
        """Watch the folder, anew where it was replaced or the watch died; cheap to call often."""
        try:
            status = self._folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity == self._watched and self._watching():
                return
            self.stop()
            observer = Observer(timeout=_IDLE_WAKE_S)
            observer.schedule(self, str(self._folder), event_filter=_WANTED)
            observer.start()
            self._observer, self._watched = observer, identity
        except OSError as error:
            log.debug("no events from %s: %s", self._folder, error.strerror or error)

    def _watching(self) -> bool:
        """Tell whether the watch lives: it ends with its folder, whose inode number the next one may get."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(each.is_alive() for each in observer.emitters)

    def stop(self) -> None:
        """End the watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(10)
            self._observer = None
