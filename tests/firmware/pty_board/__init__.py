"""A board made of MicroPython's unix port, a folder and a pseudo-terminal: what mpremote needs to believe in it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import threading
import tty
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.net import PATIENCE_S
from tests.support.parts import part

from claude_gauge.apps.device.build import folder

REPL = Path(__file__).parent / "repl.py"
RESET = 3
TAKEN_S = 1.0  # what runs may swallow an interrupt, as it may on a board
BUFFER = 16_384  # bytes that wait for a listener; a serial port loses the rest, too


class PtyBoard:
    """A serial port at `port`; `flash` is its file system. With a chip it says so, and has that one's pins."""

    def __init__(self, flash: Path, chip: str = "", *, machine: str = "") -> None:
        flash.mkdir(parents=True, exist_ok=True)
        self.flash = flash
        shutil.copytree(folder() / "virtual", flash / "hw", dirs_exist_ok=True)
        if chip:
            (flash / "hw" / "chip.txt").write_text(chip)
        if chip or machine:
            (flash / "hw" / "machine.txt").write_text(machine or f"Generic {chip} module with {chip.replace('-', '')}")
        self.resets = 0
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._stopping = False
        self._taken, self._taken_by_board = os.pipe()
        self._process = self._spawn(main=(flash / "main.py").exists())
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def _spawn(self, *, main: bool) -> subprocess.Popen[bytes]:
        taken = f"/dev/fd/{self._taken_by_board}"
        program = [str(part("micropython/micropython")), str(REPL)]
        return subprocess.Popen(
            [*program, str(self.flash), "/hw", taken, *(["main"] if main else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._taken_by_board,),
        )

    def _interrupt(self) -> bool:
        """Interrupt what runs; True where the interpreter died of it, and another one has begun with its console.

        MicroPython's unix port raises the interrupt in the midst of anything, a collection of the heap too, and ends
        then; a board does not.
        """
        # A board takes what was typed in its order. A signal would overtake what was typed before it, and be overtaken
        # by what comes behind it: a command after it would be lost. So the wire waits until it was taken.
        self._taken_within(0)  # one that came late
        self._process.send_signal(signal.SIGINT)
        if self._taken_within(TAKEN_S) or self._process.poll() in (None, RESET):
            return False
        self._close()
        self._process = self._spawn(main=False)
        return True

    def _taken_within(self, patience_s: float) -> bool:
        taken = bool(select.select([self._taken], [], [], patience_s)[0])
        if taken:
            os.read(self._taken, 64)
        return taken

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()

    def _relay(self) -> None:
        said, begun = b"", False
        while not self._stopping:
            assert self._process.stdin
            assert self._process.stdout
            sources: list[Any] = [self._process.stdout, *([self._master] if begun else [])]
            ready, writable, _ = select.select(sources, [self._master] if said else [], [], 0.1)
            if self._master in ready:
                data = os.read(self._master, 4096)
                if b"\x03" in data and self._interrupt():
                    begun = False
                with suppress(BrokenPipeError):  # it has ended: its output's end says so next
                    os.write(self._process.stdin.fileno(), data)
            if writable:
                with suppress(BlockingIOError):
                    said = said[os.write(self._master, said) :]
            if self._process.stdout in ready:
                data = os.read(self._process.stdout.fileno(), 4096)
                said = (said + data)[-BUFFER:]
                begun = True  # before, an interrupt would end the interpreter itself
                if data:
                    continue
                if self._process.wait(PATIENCE_S) != RESET:
                    return
                self._close()
                self.resets += 1
                self._process, begun = self._spawn(main=True), False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(PATIENCE_S)
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._close()
        for end in (self._master, self._slave, self._taken, self._taken_by_board):
            os.close(end)
