"""Follows one growing file, and notices when it is no longer the file that it was."""

from __future__ import annotations

import os
import stat
import struct

from claude_gauge.sources.transcripts.lines import Lines

_MARK_BYTES = 4096
CHUNK = 1 << 18

_STAMP = struct.Struct("=QQqq")
CONTENT = slice(16)  # of a stamp: inode and size, without the times


def stamp_of(status: os.stat_result) -> bytes:
    """Return what changes when a file does; packed, since it is kept for tens of thousands of files."""
    return _STAMP.pack(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Follower:
    """Reads what is new in a file.

    A file is known by what was read last before the present offset, not by its inode or size: an inode is used
    again at once after a deletion, and a rewritten file may have grown past the offset. What no longer matches is
    read again from its start; the ledger knows what it has counted.
    """

    __slots__ = ("_lines", "_mark", "offset", "path", "scan", "stat")

    def __init__(self, path: str) -> None:
        self.path = path
        self.offset = 0
        self.stat: bytes | None = None
        self.scan = -1  # the number of the last scan that found it
        self._lines: Lines | None = None
        self._mark: int | None = None

    @property
    def touched(self) -> int:
        """When the file was last seen to be written, in nanoseconds; 0 where it was not looked at yet."""
        return int(_STAMP.unpack(self.stat)[2]) if self.stat else 0

    @property
    def waits(self) -> bool:
        """Whether the file was seen to hold something, and none of it was read."""
        return not self.offset and self.stat is not None and _STAMP.unpack(self.stat)[1] > 0

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line are held back."""
        return self._lines.held if self._lines else 0

    def read(self) -> tuple[list[bytes], bool]:
        """Read the next chunk: (whole lines, whether there may be more). Raises OSError."""
        # Without O_NONBLOCK, a pipe that somebody named *.jsonl would hold up the reader for ever.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return [], False
            before = _before(descriptor, self.offset)
            if self.offset and (status.st_size < self.offset or hash(before) != self._mark):
                self.offset, self._lines, before = 0, None, b""
            # Not more than there is: room for a chunk costs more than reading the usual line.
            data = os.pread(descriptor, min(CHUNK, status.st_size - self.offset), self.offset)
        finally:
            os.close(descriptor)
        self.stat = stamp_of(status)
        if not data:
            return [], False
        self.offset += len(data)
        self._mark = hash((before + data[-_MARK_BYTES:])[-_MARK_BYTES:])
        if self._lines is None:
            self._lines = Lines()
        lines = self._lines.feed(data)
        if not self._lines.held and not self._lines.skipping:
            self._lines = None  # thousands of files lie still: keep nothing for them
        return lines, len(data) == CHUNK

    def read_tail(self, length: int) -> list[bytes]:
        """Read the last `length` bytes' whole lines of a file longer than that, and stay. Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            start = os.fstat(file.fileno()).st_size - length
            return os.pread(file.fileno(), length, start).split(b"\n")[1:-1] if start > 0 else []


def _before(descriptor: int, offset: int) -> bytes:
    """Read the bytes just before an offset, by which a file is known again."""
    start = max(0, offset - _MARK_BYTES)
    return os.pread(descriptor, offset - start, start) if offset else b""
