"""Follows one growing file, and notices when it is no longer the file that it was."""

from __future__ import annotations

import os

from claude_gauge.lines import Lines

_MARK_BYTES = 4096
CHUNK = 1 << 20

Stat = tuple[int, int, int, int]


def stamp_of(status: os.stat_result) -> Stat:
    """Return what changes when a file does."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Follower:
    """Reads what is new in a file.

    A file is known by what was read last before the present offset, not by its inode or size: an inode is used
    again at once after a deletion, and a rewritten file may have grown past the offset. What no longer matches is
    read again from its start; the ledger knows what it has counted.
    """

    __slots__ = ("_lines", "_mark", "offset", "path", "stat")

    def __init__(self, path: str) -> None:
        self.path = path
        self.offset = 0
        self.stat: Stat | None = None
        self._lines: Lines | None = None
        self._mark: int | None = None

    def read(self) -> tuple[list[bytes], bool]:
        """Read the next chunk: (whole lines, whether there may be more). Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open costs as much as the read
            status = os.fstat(file.fileno())
            before = file_mark(file.fileno(), self.offset)
            if self.offset and (status.st_size < self.offset or before != self._mark):
                self.offset, self._lines = 0, None
            data = os.pread(file.fileno(), CHUNK, self.offset)
            self.stat = stamp_of(status)
            if not data:
                return [], False
            self.offset += len(data)
            self._mark = file_mark(file.fileno(), self.offset)
        if self._lines is None:
            self._lines = Lines()
        lines = self._lines.feed(data)
        if not self._lines.held and not self._lines.skipping:
            self._lines = None  # thousands of files lie still: keep nothing for them
        return lines, len(data) == CHUNK

    def read_tail(self, length: int) -> list[bytes]:
        """Read whole lines of the last `length` bytes, without moving on. Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            start = max(0, os.fstat(file.fileno()).st_size - length)
            data = os.pread(file.fileno(), length, start)
        lines = data.split(b"\n")[:-1]
        return lines[1:] if start else lines


def file_mark(descriptor: int, offset: int) -> int:
    """Fingerprint the bytes just before an offset."""
    start = max(0, offset - _MARK_BYTES)
    return hash(os.pread(descriptor, offset - start, start)) if offset else 0
