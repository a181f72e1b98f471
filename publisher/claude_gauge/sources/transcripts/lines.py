"""Bytes as they come -> whole lines: the unfinished last one waits for its newline."""

from __future__ import annotations

LONGEST = 8 * 1024 * 1024


class Lines:
    """Hold back the unfinished last line until its newline arrives; a line longer than `longest` is dropped unheld."""

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
        *whole, rest = (self._rest + data if self._rest else data).split(b"\n")
        if len(rest) > self._longest:
            self._skipping, rest = True, b""
            self.skipped += 1
        self._rest = rest
        kept = [line for line in whole if len(line) <= self._longest]
        self.skipped += len(whole) - len(kept)
        return kept

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line are held back."""
        return len(self._rest)

    @property
    def skipping(self) -> bool:
        """Whether the rest of an overlong line is still being passed over."""
        return self._skipping
