"""File events as hints for the reader, and whether they are reliable; the scan finds what they miss."""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from claude_gauge.system.net import Wake

log = logging.getLogger(__name__)

# Without the filter our own reading would wake us up: opening and closing a file are events, too.
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
_WAKE_S = 60.0  # the observer's own idle wake-up

BREATH_S = 0.1  # no two payloads go out closer together
AGAIN_S = 60.0

Hint = Callable[[str | None], None]
Wanted = Callable[[str], bool]  # whether the events of a file at this path matter
Identity = tuple[int, int]


class Events(Protocol):
    """The file events of one root. Its constructor raises OSError where there are none."""

    @property
    def alive(self) -> bool:
        """Whether events of the root that was found at the start can still come."""

    @property
    def missing(self) -> dict[str, int]:
        """Folders that are there but give no events, and why: an errno."""

    def again(self) -> None:
        """Try once more with those."""

    def fileno(self) -> int:
        """Return a descriptor that can be read when something happened; -1 where hints are put by another thread."""

    def read(self) -> tuple[list[str], bool]:
        """Return the paths that something happened to, and whether events were lost; never waits."""

    def stop(self) -> None:
        """End it."""


class Hints:
    """Paths that something happened to, reported by the kernel or put by other threads; `take` is one thread's.

    None that is put says that some were lost, an empty path only wakes the reader. `breath_s` is how long `take` rests
    under a stream of events.
    """

    def __init__(self, breath_s: float = BREATH_S) -> None:
        self._breath_s = breath_s
        self._put: deque[str | None] = deque()
        self._wake: Wake | None = None  # while somebody takes
        self._hinted_at = 0.0
        self._over = threading.Event()
        self._events: dict[int, Events] = {}

    def put(self, hint: str | None) -> None:
        """Give a hint, from any thread."""
        self._put.append(hint)
        if wake := self._wake:
            wake()

    def attach(self, events: Events) -> None:
        """Take these events, too."""
        if events.fileno() >= 0:
            self._events[events.fileno()] = events

    def detach(self, events: Events) -> None:
        """Stop taking these events."""
        self._events.pop(events.fileno(), None)

    def end(self) -> None:
        """End every wait, now and later."""
        self._over.set()
        self.put("")

    def close(self) -> None:
        """Close the sockets, until something is taken again."""
        wake, self._wake = self._wake, None
        if wake:
            wake.close()

    def take(self, wait_s: float) -> tuple[list[str], bool]:
        """Return all paths that were hinted at, once there is one or the time is up, and whether some were lost.

        Under a stream of events it rests first, so that many are taken at a time.
        """
        if wait_s and time.monotonic() - self._hinted_at < self._breath_s:
            self._over.wait(self._breath_s)
        paths, lost = list[str](), False
        for descriptor in self._ready(wait_s):
            some, missed = self._events[descriptor].read()
            paths += some
            lost = lost or missed
        while self._put:
            hint = self._put.popleft()
            lost = lost or hint is None
            if hint:
                paths.append(hint)
        if paths:
            self._hinted_at = time.monotonic()
        return paths, lost

    def _ready(self, wait_s: float) -> list[int]:
        """Wait for events or for a hint that is put; return the descriptors that have events."""
        wake = self._wake = self._wake or Wake()
        poll = select.poll()
        for descriptor in (wake.reader.fileno(), *self._events):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(0 if self._put else wait_s * 1000)]
        wake.drain()
        return [descriptor for descriptor in ready if descriptor in self._events]


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

    def suspect(self, grown: set[str]) -> None:
        """Note files that had grown in a scan before any event named them."""
        self._suspects = grown

    def judge(self, now: float) -> bool:
        """Compare, right before a scan; return whether events have just proved unreliable."""
        if self._suspects:
            just_lost = self._lost_at is None
            if just_lost:
                log.warning("file events go missing (%d files): looking every second instead", len(self._suspects))
            self._lost_at = now
            return just_lost
        if self._lost_at is not None and now - self._lost_at > AGAIN_S:
            self._lost_at = None
            log.info("file events arrive again")
        return False


class Watch:
    """Attaches the events of the wanted files below each root to `hints`; one thread's.

    Where there are none a log line of this `level` says so; its owner looks by itself, then.
    """

    def __init__(
        self,
        hints: Hints,
        wanted: Wanted,
        events_of: Callable[[str, Hint, Wanted], Events] | None = None,
        *,
        level: int = logging.WARNING,
    ) -> None:
        self._hints, self._wanted, self._level = hints, wanted, level
        self._events_of = events_of or _kind()
        self.roots: dict[Path, tuple[Identity, Events]] = {}
        self._unwatched: set[Path] = set()
        self.trouble = ""  # why events cannot be relied on; empty where they can

    def tend(self, roots: Sequence[Path]) -> bool:
        """Watch every root that exists, again where a root was replaced or its events ended; return whether any was."""
        began = False
        for root in roots:
            identity = _identity(root)
            watched = self.roots.get(root)
            if watched and watched[0] == identity and watched[1].alive:
                watched[1].again()
                continue
            if watched:
                self._end(root)
            if identity:
                began = self._begin(root, identity) or began
            else:
                self._unwatched.discard(root)
        self._look_for_shortage()
        return began

    def renew(self) -> None:
        """Begin again at the next `tend`: where events go missing, their threads may have died unseen."""
        for root in list(self.roots):
            self._end(root)

    def _look_for_shortage(self) -> None:
        missing = [why for _, events in self.roots.values() for why in events.missing.values()]
        at_limit = errno.ENOSPC in missing
        trouble = "watch limit reached" if at_limit else "folders without events" if missing else ""
        if trouble and trouble != self.trouble:
            how = "can't be watched (see fs.inotify.max_user_watches)" if at_limit else "give no file events"
            log.log(self._level, "%d folders or more %s: looking at intervals instead", len(missing), how)
        self.trouble = "no file events" if self._unwatched else trouble

    def _begin(self, root: Path, identity: Identity) -> bool:
        try:
            events = self._events_of(str(root), self._hints.put, self._wanted)
        except OSError as error:
            if root not in self._unwatched:
                log.log(
                    self._level, "cannot watch %s (%s): looking at intervals instead", root, error.strerror or error
                )
            self._unwatched.add(root)
            return False
        self._unwatched.discard(root)
        self.roots[root] = (identity, events)
        self._hints.attach(events)
        return True

    def _end(self, root: Path) -> None:
        _, events = self.roots.pop(root)
        self._hints.detach(events)
        events.stop()


def _kind() -> Callable[[str, Hint, Wanted], Events]:
    if sys.platform != "linux":
        return Observed
    from claude_gauge.system.inotify import Inotify  # noqa: PLC0415 - Linux only

    return lambda root, _, wanted: Inotify(root, wanted)


class Observed(FileSystemEventHandler):
    """Watchdog's observer of the system at hand; it gives its hints from a thread of its own."""

    missing: dict[str, int] = {}  # noqa: RUF012 - it watches all, or fails

    def __init__(self, root: str, hint: Hint, wanted: Wanted) -> None:
        self._hint, self._wanted = hint, wanted
        self._root, self._real = root, os.path.realpath(root)  # watchdog does not follow a link, not even as the root
        self._observer = Observer(timeout=_WAKE_S)
        try:
            self._observer.schedule(self, self._real, recursive=True, event_filter=_WANTED)
            self._observer.start()
        except OSError:
            self._observer.stop()  # it has a thread already
            raise

    @property
    def alive(self) -> bool:
        """Whether all its threads live."""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def again(self) -> None:
        """Do nothing: nothing is missing."""

    def fileno(self) -> int:
        """Return -1: its hints come by themselves."""
        return -1

    def read(self) -> tuple[list[str], bool]:
        """Return nothing, for the same reason."""
        return [], False

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on what matters, by the root's own name where that is a link."""
        path = os.fsdecode(event.dest_path or event.src_path)
        if event.is_directory or self._wanted(path):
            self._hint(self._root + path[len(self._real) :])

    def stop(self) -> None:
        """End its threads."""
        self._observer.stop()
        self._observer.join(5)


def _identity(root: Path) -> Identity | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
