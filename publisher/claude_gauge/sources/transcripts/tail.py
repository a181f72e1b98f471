"""All transcripts below the roots: new lines first, history after them.

Three queues, and `step` serves them in this order:
1. `urgent`: files that an event or a scan reported as grown, and files written in the last minutes.
2. `recent`: the ends of files that hold more than can be read at once, backwards, until the caller says `enough`.
3. `history`: everything else, by the time of its last write, newest first, each file from its end. It goes back to
   `oldest`; files that were not written since then wait unread. Readers in other processes may take it by `take`.

One thread owns a `Tail`. Hints make it quick; the scan is the truth.
"""

from __future__ import annotations

import heapq
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from claude_gauge.sources.transcripts.follower import (
    CHUNK,
    CONTENT,
    LEAP,
    Follower,
    Lines,
    last_time,
    read_stretch,
    stamp_of,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_NS = 1_000_000_000
_touched = attrgetter("touched")
_PIECE_BYTES = 8 << 20
_WHOLE = -1
_PEEKS = 50
_MOST_PIECES = 256  # of one task


class Piece(NamedTuple):
    """A stretch of a file, still to be read; they sort in the order of reading.

    A `start` of -1 stands for a file that was not opened yet, with `stop` its size.
    """

    before: int  # minus the time of the last write, ns
    from_end: int  # minus `stop`
    path: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stop - max(0, self.start)


def _piece(touched: int, path: str, start: int, stop: int) -> Piece:
    return Piece(-touched, -stop, path, start, stop)


class Tail:
    """Follows every `*.jsonl` below the roots; files untouched since `oldest` (epoch seconds) wait unread."""

    leap_bytes = LEAP  # more than this at once is read from its end
    recent_bytes = 1 << 16
    step_bytes = 1 << 19

    def __init__(self, roots: Sequence[Path], oldest: float = 0.0) -> None:
        self._roots = [str(root) for root in roots]
        self._oldest_ns = int(oldest * _NS)
        self._files: dict[str, Follower] = {}
        self._urgent: dict[str, None] = {}
        self._recent: list[Piece] = []
        self._history: list[Piece] = []  # a heap
        self._taken: dict[Piece, None] = {}
        self._doubtful: list[str] = []  # old by their own time; their lines may be newer
        self._failed: list[Piece] = []  # tried again at the next scan
        self._stepped = ""
        self._unreadable: set[str] = set()  # files; they are tried again at each scan
        self._shut: set[str] = set()  # folders
        self._complained: set[str] = set()
        self._scan = 0
        self.backlog = 0  # bytes of history that are to be read
        self.skipped = 0  # lines that were too long

    def __len__(self) -> int:
        return len(self._files)

    @property
    def unreadable(self) -> int:
        """How many files and folders cannot be read."""
        return len(self._unreadable) + len(self._shut)

    @property
    def live(self) -> bool:
        """Whether something new waits to be read."""
        return bool(self._urgent or self._recent)

    @property
    def behind(self) -> bool:
        """Whether anything waits to be read, or is being read by somebody who took it."""
        return self.live or bool(self._taken) or self._next() is not None

    @property
    def doubts(self) -> bool:
        """Whether files wait unread whose lines may be newer than they are."""
        return bool(self._doubtful)

    @property
    def read_since(self) -> float:
        """All that was written later than this time (epoch seconds) is read."""
        waiting = [-piece.before for piece in (*self._taken, *self._recent)]
        if self._next() is not None:
            waiting.append(-self._history[0].before)
        return max(waiting, default=self._oldest_ns) / _NS

    def hint(self, path: str) -> None:
        """Note that something happened to this path: a transcript, or a folder to look through."""
        known = path in self._files  # the hot path
        if known or (path.endswith(".jsonl") and not os.path.isdir(path)):  # noqa: PTH112 - a string all along
            self._follower(path)
            self._urgent[path] = None
        elif self._below_a_root(path):
            self._look_through(path)

    def scan(self, live_since: float = float("inf")) -> set[str]:
        """Look at every file; note the changed ones to be read, forget the gone.

        New files written after `live_since` (epoch seconds) are urgent. Return those that have grown or are new, and
        that no hint has named: an event should have.
        """
        self._scan = (self._scan + 1) % 100  # small numbers are shared: no memory per file
        failed, self._failed = self._failed, []
        for piece in failed:
            self._push(piece)
        grown: set[str] = set()
        for root in self._roots:
            grown |= self._look_through(root, live_since)
        for gone in [path for path, file in self._files.items() if file.scan != self._scan]:
            del self._files[gone]
            self._urgent.pop(gone, None)
        self._unreadable &= self._files.keys()
        self._shut = {folder for folder in self._shut if os.path.lexists(folder)}
        self._complained &= self._unreadable | self._shut
        return grown

    def reach(self, oldest: float) -> None:
        """Read also files that were touched since this earlier time."""
        before, self._oldest_ns = self._oldest_ns, min(self._oldest_ns, int(oldest * _NS))
        for path, file in self._files.items():
            if file.unread and file.size and self._oldest_ns <= file.touched < before and path not in self._unreadable:
                self._push(_piece(file.touched, path, _WHOLE, file.size))

    def peek(self) -> bool:
        """Look whether some of the files that wait unread have lines newer than their own time; False: none to look at.

        A copied or restored file may bear any time. One with newer lines is read as if it was written then.
        """
        doubtful, self._doubtful = self._doubtful[-_PEEKS:], self._doubtful[:-_PEEKS]
        for path in doubtful:
            file = self._files.get(path)
            if file is None or not file.unread or file.touched >= self._oldest_ns:
                continue
            newest = int((self._tried(path, partial(last_time, path)) or 0) * _NS)
            if newest <= file.touched + _NS:
                continue
            log.info("%s bears an older time than its lines, as copied files do: read by its lines' times", path)
            file.newest = newest
            if newest >= self._oldest_ns:
                self._push(_piece(newest, path, _WHOLE, file.size))
        return bool(doubtful)

    def newest(self) -> Follower | None:
        """Return the file touched last."""
        return max(self._files.values(), key=_touched, default=None)

    def step(self) -> list[bytes]:
        """Read one chunk, what just happened first; return its whole lines."""
        if self._urgent:
            return self._read_new()
        piece = self._last_part(self.recent_bytes if self._recent else self.step_bytes)
        return self._read_piece(piece) if piece else []

    def enough(self) -> None:
        """Note that the last step reached back far enough: what is before it in that file is history."""
        if self._recent and self._recent[-1].path == self._stepped:
            self._push(self._recent.pop())

    def take(self, size: int) -> list[Piece]:
        """Hand out history of about so many bytes, newest first; `give_back` says how it went."""
        task: list[Piece] = []
        while size > 0 and len(task) < _MOST_PIECES and self._next() is not None:
            piece = self._last_part(_PIECE_BYTES)
            if piece is not None:
                task.append(piece)
                self._taken[piece] = None
                size -= piece.stop - piece.start
        return task

    def give_back(self, task: Sequence[Piece], *, unread: Sequence[Piece] = (), skipped: int = 0) -> None:
        """Take note that a task was read, but for some of its pieces."""
        for piece in task:
            self._taken.pop(piece, None)
        for piece in unread:
            self._push(piece)
        self.skipped += skipped

    def _push(self, piece: Piece) -> None:
        heapq.heappush(self._history, piece)
        self.backlog += piece.size

    def _pop(self) -> Piece:
        piece = heapq.heappop(self._history)
        self.backlog -= piece.size
        return piece

    def _next(self) -> Piece | None:
        """Return the piece of history that is read next."""
        while self._history:
            piece = self._history[0]
            file = self._files.get(piece.path)
            if piece.start != _WHOLE or (file is not None and file.unread and file.touched == -piece.before):
                return piece
            self._pop()  # gone, changed since, or read as new
        return None

    def _read_new(self) -> list[bytes]:
        path = next(iter(self._urgent))
        del self._urgent[path]
        follower = self._follower(path)
        lines, more = self._read(follower)
        while more and follower.held >= CHUNK:  # a long line is read to its end: only one is ever held
            further, more = self._read(follower)
            lines += further
        if follower.gap is not None:
            self._recent.append(_piece(follower.touched, path, *follower.gap))
            follower.gap = None
        self.skipped += follower.skipped
        follower.skipped = 0
        if more:
            self._urgent[path] = None  # behind the others: one huge file keeps none of them waiting
        return lines

    def _read_piece(self, piece: Piece) -> list[bytes]:
        self._stepped = piece.path
        held = Lines()
        try:
            lines = [line for some in read_stretch(piece.path, piece.start, piece.stop, held) for line in some]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unreadable.add(piece.path)
            self._failed.append(piece)
            self._complain(piece.path, error)
            return []
        self._unreadable.discard(piece.path)
        self.skipped += held.skipped
        return lines

    def _last_part(self, size: int) -> Piece | None:
        """Take so many bytes off the end of what is to be read back; None where a file has nothing for that."""
        recent = bool(self._recent)
        piece = self._recent.pop() if recent else self._pop() if self._next() is not None else None
        if piece is not None and piece.start == _WHOLE:
            piece = self._opened(piece.path)
        if piece is None:
            return None
        cut = max(piece.start, piece.stop - size)
        if cut > piece.start:
            rest = _piece(-piece.before, piece.path, piece.start, cut)
            if recent:
                self._recent.append(rest)
            else:
                self._push(rest)
        return _piece(-piece.before, piece.path, cut, piece.stop)

    def _opened(self, path: str) -> Piece | None:
        """Follow a file from its end on, and make a piece of all that it holds."""
        follower = self._follower(path)
        touched = follower.touched
        if not self._tried(path, follower.stand_at_end):
            return None
        if follower.size > follower.offset:
            self._urgent[path] = None  # an unfinished last line
        gap, follower.gap = follower.gap, None
        return _piece(touched, path, *gap) if gap else None

    def _follower(self, path: str) -> Follower:
        follower = self._files.get(path)
        if follower is None:
            follower = self._files[path] = Follower(path)
        return follower

    def _read(self, follower: Follower) -> tuple[list[bytes], bool]:
        return self._tried(follower.path, partial(follower.read, self.leap_bytes)) or ([], False)

    def _tried(self, path: str, read: Callable[[], T]) -> T | None:
        """Do something with a file; one that is gone is forgotten, one that can't be read is logged once."""
        try:
            result = read()
        except FileNotFoundError:
            self._files.pop(path, None)
        except OSError as error:
            self._unreadable.add(path)
            self._complain(path, error)
        else:
            self._unreadable.discard(path)
            return result
        return None

    def _complain(self, path: str, error: OSError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.warning("cannot read %s: %s; its usage is missing until it can be", path, error.strerror or error)

    def _below_a_root(self, path: str) -> bool:
        return any(path == root or path.startswith(root + os.sep) for root in self._roots)

    def _look_through(self, folder: str, live_since: float = float("-inf")) -> set[str]:
        grown, live = set[str](), list[tuple[int, str]]()
        for path, status, linked in self._walk(folder):
            file, now = self._files.get(path), stamp_of(status)
            if file is None:
                file = self._files[path] = Follower(path)
            file.scan = self._scan
            if (file.stat == now and path not in self._unreadable) or path in self._urgent:
                continue
            # Other times alone prove nothing: no event comes for them, nor for linked folders.
            same = file.stat is not None and file.stat[CONTENT] == now[CONTENT]
            if not (linked or same or path in self._unreadable):
                grown.add(path)
            if not file.unread or status.st_mtime_ns >= live_since * _NS:
                live.append((status.st_mtime_ns, path))
                continue
            file.stat = now
            if status.st_size and file.touched >= self._oldest_ns:
                self._push(_piece(file.touched, path, _WHOLE, status.st_size))
            elif status.st_size:
                self._doubtful.append(path)
        self._urgent |= {path: None for _, path in sorted(live, reverse=True)}
        return grown

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result, bool]]:
        folders, targets = [(folder, False)], set[str]()
        while folders:
            here, linked = folders.pop()
            for entry in self._list(here):
                try:
                    if entry.name.endswith(".jsonl") and stat.S_ISREG((status := entry.stat()).st_mode):
                        yield entry.path, status, linked or entry.is_symlink()
                    elif entry.is_dir():
                        by_link = linked or entry.is_symlink()
                        if not (by_link and self._walked(entry.path, targets)):
                            folders.append((entry.path, by_link))
                except OSError:
                    continue  # gone between listing and looking, or a link to nowhere

    def _list(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._shut.add(folder)
            self._complain(folder, error)
            return []
        self._shut.discard(folder)
        return listed

    def _walked(self, link: str, targets: set[str]) -> bool:
        """Return whether a linked folder is walked anyway, or was already: loops end here."""
        target = os.path.realpath(link)
        if target in targets or any(
            (target + os.sep).startswith(os.path.realpath(root) + os.sep) for root in self._roots
        ):
            return True
        targets.add(target)
        return False
