"""Reads one growing file: whole lines as they are appended, and stretches of what was written before.

What is new is read from the end. Where a file holds more than `LEAP` unread bytes, the follower goes on behind the
last whole line, and what lies before it becomes a `gap`: the caller reads it in stretches, backwards, when nothing
new waits. A line belongs to the stretch in which its first byte lies, so stretches may be cut anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from collections.abc import Iterator
from datetime import datetime

LONGEST = 8 * 1024 * 1024
CHUNK = 1 << 18
LEAP = 1 << 18
_MARK_BYTES = 4096
_END_BYTES = 1 << 15
_TIME = re.compile(rb'"timestamp" ?: ?"(\d{4}-\d\d-\d\dT[\d:.]{8,15}(?:Z|[+-]\d\d:\d\d))"')

_STAMP = struct.Struct("=QQqq")
CONTENT = slice(16)  # of a stamp: inode and size, without the times


def stamp_of(status: os.stat_result) -> bytes:
    """Return what changes when a file does; packed, since it is kept for tens of thousands of files."""
    return _STAMP.pack(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Lines:
    """Bytes as they come -> whole lines; a line longer than `longest` is dropped and counted in `skipped`."""

    __slots__ = ("_longest", "_rest", "_skipping", "skipped")

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False
        self.skipped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they complete, without their newlines."""
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return []
            self._skipping = False
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        return lines if len(data) <= self._longest else self._without_long(lines)

    def _without_long(self, lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if len(line) <= self._longest]
        self.skipped += len(lines) - len(kept)
        if len(self._rest) > self._longest:
            self._skipping, self._rest = True, b""
            self.skipped += 1
        return kept

    @property
    def rest(self) -> bytes:
        """The unfinished last line."""
        return self._rest

    @property
    def idle(self) -> bool:
        """Whether no unfinished line is held and none is being skipped."""
        return not self._rest and not self._skipping


class Follower:
    """Reads what is new in a file, and notices when it is no longer the file that it was.

    A file is identified by what was read last before the present offset, not by its inode or size: an inode is used
    again at once after a deletion, and a rewritten file may have grown past the offset. What no longer matches is
    read again from its start; the ledger knows what it has counted.
    """

    __slots__ = ("_lines", "_mark", "gap", "newest", "offset", "path", "scan", "skipped", "stat")

    def __init__(self, path: str) -> None:
        self.path = path
        self.offset = 0
        self.stat: bytes | None = None
        self.scan = -1  # the number of the last scan that found it
        self.newest = 0  # the time of its last line, ns, where that is later than the file's own
        self.skipped = 0  # lines that were too long
        self.gap: tuple[int, int] | None = None  # bytes before the offset that are still to be read
        self._lines: Lines | None = None
        self._mark: int | None = None

    @property
    def touched(self) -> int:
        """When the file was last seen to be written, in nanoseconds; 0 where it was not looked at yet."""
        return max(self.newest, int(_STAMP.unpack(self.stat)[2])) if self.stat else 0

    @property
    def unread(self) -> bool:
        """Whether nothing of the file was read yet."""
        return not self.offset and not self.held

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line are held back."""
        return len(self._lines.rest) if self._lines else 0

    @property
    def size(self) -> int:
        """How long the file was when it was last seen, in bytes."""
        return int(_STAMP.unpack(self.stat)[1]) if self.stat else 0

    def stand_at_end(self) -> bool:
        """Go on behind the last whole line of a file of which nothing was read; `gap` is all before it.

        Return False for what is no file. Raises OSError.
        """
        with open(self.path, "rb", buffering=0, opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return False
            self._leap(file.fileno(), status.st_size)
        self.stat = stamp_of(status)
        return True

    def read(self, leap: int = LEAP) -> tuple[list[bytes], bool]:
        """Read the next chunk: (whole lines, whether there may be more). Raises OSError.

        Where more than `leap` bytes are unread, only the end is read, and `gap` says what was left out. A last
        record that lacks nothing but its newline is returned, too, and again when the newline has come.
        """
        descriptor = _open(self.path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return [], False
            before = _before(descriptor, self.offset)
            if self.offset and (status.st_size < self.offset or hash(before) != self._mark):
                self.offset, self._lines, self.gap, before = 0, None, None, b""
            if status.st_size - self.offset > leap:
                before = self._leap(descriptor, status.st_size) or before
            # Not more than there is: room for a chunk costs more than reading the usual line.
            data = os.pread(descriptor, min(CHUNK, status.st_size - self.offset), self.offset)
        finally:
            os.close(descriptor)
        self.stat = stamp_of(status)
        if not data:
            return [], False
        self.offset += len(data)
        self._mark = hash((before + data[-_MARK_BYTES:])[-_MARK_BYTES:])
        more = len(data) == CHUNK
        return self._feed(data, last=not more), more

    def _leap(self, descriptor: int, size: int) -> bytes:
        """Go on behind the last newline before `size`, if there is one; return the bytes before that place."""
        end = _behind_last_newline(descriptor, self.offset, size)
        if end == self.offset:
            return b""
        self.gap = (self.gap[0] if self.gap else self.offset - self.held, end)
        self.offset, self._lines = end, None
        before = _before(descriptor, end)
        self._mark = hash(before)
        return before

    def _feed(self, data: bytes, *, last: bool) -> list[bytes]:
        if self._lines is None:
            self._lines = Lines()
        lines = self._lines.feed(data)
        self.skipped += self._lines.skipped
        self._lines.skipped = 0
        if last and self._lines.rest.endswith(b"}"):
            lines.append(self._lines.rest)
        if self._lines.idle:
            self._lines = None  # thousands of files lie still: keep nothing for them
        return lines


def read_stretch(path: str, start: int, stop: int, lines: Lines | None = None) -> Iterator[list[bytes]]:
    """Yield the whole lines whose first byte lies in [start, stop), some at a time. Raises OSError."""
    lines = lines or Lines()
    descriptor = _open(path)
    try:
        at = _first_line(descriptor, start, stop) if start else 0
        while at < stop:
            data = os.pread(descriptor, min(CHUNK, stop - at), at)
            if not data:
                return
            at += len(data)
            yield lines.feed(data)
        while not lines.idle:  # the last line that begins here ends behind
            data = os.pread(descriptor, CHUNK, at)
            if not data:
                return
            at += len(data)
            yield lines.feed(data[: data.find(b"\n") + 1 or None])
    finally:
        os.close(descriptor)


def last_time(path: str) -> float | None:
    """Return the latest time at the end of a file, in epoch seconds. Raises OSError."""
    descriptor = _open(path)
    try:
        size = os.fstat(descriptor).st_size
        end = os.pread(descriptor, _END_BYTES, max(0, size - _END_BYTES))
    finally:
        os.close(descriptor)
    times = []
    for stamp in _TIME.findall(end):
        with contextlib.suppress(ValueError):
            times.append(datetime.fromisoformat(stamp.decode()).timestamp())
    return max(times, default=None)


def _open(path: str, _flags: int = 0) -> int:
    # Without O_NONBLOCK, a pipe that somebody named *.jsonl would block the reader.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _first_line(descriptor: int, start: int, stop: int) -> int:
    """Find the first beginning of a line in [start, stop); `stop` where there is none."""
    at = start - 1
    while at < stop - 1:
        data = os.pread(descriptor, min(CHUNK, stop - 1 - at), at)
        newline = data.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        if not data:
            break
        at += len(data)
    return stop


def _behind_last_newline(descriptor: int, start: int, stop: int) -> int:
    """Find the last newline in [start, stop) and return the place behind it; `start` where there is none."""
    end, size = stop, _MARK_BYTES  # it is nearly always the last byte
    while end > start:
        begin = max(start, end - size)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end, size = begin, CHUNK
    return start


def _before(descriptor: int, offset: int) -> bytes:
    """Read the bytes just before an offset, by which a file is recognised."""
    start = max(0, offset - _MARK_BYTES)
    return os.pread(descriptor, offset - start, start) if offset else b""
