"""A terminal taken over for a while: its other screen, keys as they are pressed, and its size as it changes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from types import FrameType
from typing import Self

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # other screen, no cursor, no wrapping
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
SYNC, SYNCED = "\x1b[?2026h", "\x1b[?2026l"  # terminals that know it show the frame whole; others ignore it


class Screen:
    """Use as a context: whatever happens inside, the terminal is given back as it was."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._stdin = sys.stdin.fileno()
        self._news, self._ring = os.pipe()
        os.set_blocking(self._ring, False)
        os.set_blocking(self._news, False)
        self.taken_again = False  # what was shown is gone

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._stdin)
        handlers = {signal.SIGWINCH: self._resized, signal.SIGTERM: self._ended, signal.SIGTSTP: self._suspended}
        self._handlers_before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def _take(self) -> None:
        tty.setcbreak(self._stdin)
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows just now."""
        return shutil.get_terminal_size()

    def show(self, picture: str) -> None:
        """Put a picture on the screen in one write."""
        rows = "\r\n".join(line + "\x1b[K" for line in picture.split("\n"))
        self._write(f"{SYNC}\x1b[H{rows}\x1b[J{SYNCED}")

    def ring(self) -> None:
        """End the present `wait` at once; may be called from any thread."""
        try:
            os.write(self._ring, b"!")
        except BlockingIOError:
            return  # it rings already

    def wait(self, seconds: float) -> str:
        """Wait for a key (returned), a resize, a ring or the time to pass ("")."""
        ready, _, _ = select.select([self._stdin, self._news], [], [], seconds)
        if self._news in ready:
            os.read(self._news, 4096)
        if self._stdin not in ready:
            return ""
        return os.read(self._stdin, 64).decode("utf-8", "replace") or "q"  # a closed terminal quits

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.ring()

    def _suspended(self, number: int, _frame: FrameType | None) -> None:
        """Give the terminal back for as long as Ctrl-Z lasts."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here until `fg`
        signal.signal(number, self._suspended)
        self._take()
        self.taken_again = True
        self.ring()

    def _ended(self, _number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
