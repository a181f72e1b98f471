"""All transcripts below the roots: which are new or have grown, and what their new lines are.

One thread owns a `Tail`. Hints make it quick; the scan is the truth.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from claude_gauge.sources.transcripts.follower import CHUNK, CONTENT, Follower, stamp_of

_log = logging.getLogger(__name__)
_NS = 1_000_000_000
_touched = attrgetter("touched")


class Tail:
    """Follows every `*.jsonl` below the roots; files untouched since `oldest` (epoch seconds) wait unread."""

    def __init__(self, roots: Sequence[Path], oldest: float = 0.0) -> None:
        self._roots = [str(root) for root in roots]
        self._oldest_ns = int(oldest * _NS)
        self._files: dict[str, Follower] = {}
        self._urgent: dict[str, None] = {}
        self._pending: dict[str, None] = {}
        self._unreadable: set[str] = set()  # files; they are tried again at each scan
        self._shut: set[str] = set()  # folders
        self._complained: set[str] = set()
        self._scan = 0
        self.folders = 0  # below the roots at the last scan; linked ones not counted

    def __len__(self) -> int:
        return len(self._files)

    @property
    def unreadable(self) -> int:
        """How many files and folders cannot be read."""
        return len(self._unreadable) + len(self._shut)

    @property
    def behind(self) -> bool:
        """Whether something waits to be read."""
        return bool(self._urgent or self._pending)

    def hint(self, path: str) -> None:
        """Note that something happened to this path: a transcript, or a folder to look through."""
        known = path in self._files  # the hot path
        if known or (path.endswith(".jsonl") and not os.path.isdir(path)):  # noqa: PTH112 - a string all along
            self._follower(path)
            self._pending.pop(path, None)
            self._urgent[path] = None
        elif self._below_a_root(path):
            self._look_through(path)

    def scan(self) -> set[str]:
        """Look at every file; note the changed ones to be read, forget the gone.

        Return those that have grown or are new, and of which no hint has told: somebody should have.
        """
        self.folders = 0
        self._scan = (self._scan + 1) % 100  # small numbers are shared: no memory per file
        grown: set[str] = set()
        for root in self._roots:
            grown |= self._look_through(root)
        for gone in [path for path, file in self._files.items() if file.scan != self._scan]:
            del self._files[gone]
            self._pending.pop(gone, None)
            self._urgent.pop(gone, None)
        self._unreadable &= self._files.keys()
        self._shut = {folder for folder in self._shut if os.path.lexists(folder)}
        self._complained &= self._unreadable | self._shut
        return grown

    def reach(self, oldest: float) -> None:
        """Read also files that were touched since this earlier time."""
        self._oldest_ns = min(self._oldest_ns, int(oldest * _NS))
        due = [file for file in self._files.values() if file.waits and file.touched >= self._oldest_ns]
        for file in sorted(due, key=_touched, reverse=True):
            if file.path not in self._unreadable:
                self._pending[file.path] = None

    def waiting(self) -> list[Follower]:
        """Return the files that are to be read, those first that were touched last."""
        return [self._files[path] for path in self._pending]

    def newest(self) -> Follower | None:
        """Return the file touched last."""
        return max(self._files.values(), key=_touched, default=None)

    def step(self) -> list[bytes]:
        """Read one chunk, what just happened first; return its whole lines."""
        queue = self._urgent or self._pending
        path = next(iter(queue), None)
        if path is None:
            return []
        del queue[path]
        follower = self._follower(path)
        lines, more = self._read(follower)
        while more and follower.held >= CHUNK:  # a long line is read to its end: only one is ever held
            further, more = self._read(follower)
            lines += further
        if more:
            queue[path] = None  # behind the others: one huge file keeps none of them waiting
        return lines

    def _follower(self, path: str) -> Follower:
        follower = self._files.get(path)
        if follower is None:
            follower = self._files[path] = Follower(path)
        return follower

    def _read(self, follower: Follower) -> tuple[list[bytes], bool]:
        path = follower.path
        try:
            found = follower.read()
        except FileNotFoundError:
            self._files.pop(path, None)
        except OSError as error:
            self._unreadable.add(path)
            self._complain(path, error)
        else:
            self._unreadable.discard(path)
            return found
        return [], False

    def _complain(self, path: str, error: OSError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            _log.warning("cannot read %s: %s; its usage is missing until it can be", path, error.strerror or error)

    def _below_a_root(self, path: str) -> bool:
        return any(path == root or path.startswith(root + os.sep) for root in self._roots)

    def _look_through(self, folder: str) -> set[str]:
        grown, pending = set[str](), list[tuple[int, str]]()
        for path, status, linked in self._walk(folder):
            follower = self._files.get(path)
            now = stamp_of(status)
            if follower is None:
                follower = self._files[path] = Follower(path)
                if status.st_mtime_ns < self._oldest_ns:
                    follower.stat = now
            follower.scan = self._scan
            if (follower.stat == now and path not in self._unreadable) or path in self._urgent:
                continue
            pending.append((status.st_mtime_ns, path))
            # Other times alone prove nothing: no event tells them to us, nor anything of linked folders.
            if (
                not linked
                and path not in self._unreadable
                and (follower.stat is None or follower.stat[CONTENT] != now[CONTENT])
            ):
                grown.add(path)
        self._pending |= {path: None for _, path in sorted(pending, reverse=True)}
        return grown

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result, bool]]:
        folders, targets = [(folder, False)], set[str]()
        while folders:
            here, linked = folders.pop()
            for entry in self._list(here, linked=linked):
                try:
                    if entry.name.endswith(".jsonl") and stat.S_ISREG((status := entry.stat()).st_mode):
                        yield entry.path, status, linked or entry.is_symlink()
                    elif entry.is_dir():
                        by_link = linked or entry.is_symlink()
                        if not (by_link and self._walked(entry.path, targets)):
                            folders.append((entry.path, by_link))
                except OSError:
                    continue  # gone between listing and looking, or a link to nowhere

    def _list(self, folder: str, *, linked: bool) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._shut.add(folder)
            self._complain(folder, error)
            return []
        self._shut.discard(folder)
        self.folders += not linked
        return found

    def _walked(self, link: str, targets: set[str]) -> bool:
        """Tell whether a linked folder is walked anyway, or was already: loops end here."""
        target = os.path.realpath(link)
        if target in targets or any(
            (target + os.sep).startswith(os.path.realpath(root) + os.sep) for root in self._roots
        ):
            return True
        targets.add(target)
        return False
