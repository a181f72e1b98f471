"""The board's own firmware in a child process, on virtual hardware, and the parser of its trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, TextIO

from claude_gauge.apps.device.build import folder
from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES
from claude_gauge.errors import GaugeError
from claude_gauge.system.child import without_secrets

RESET = 3  # the exit code of a virtual board that starts again
PATIENCE_S = 120.0  # for what takes seconds on a quiet machine


class VirtualBoard:
    """A virtual board; `interpreter` runs its files: this Python, or MicroPython.

    `settings` become its config.json; a text is written as it is.
    """

    def __init__(
        self,
        flash: Path,
        settings: Mapping[str, Any] | str,
        interpreter: Sequence[str] = (sys.executable,),
        *,
        trace: TextIO | None = None,
        on_log: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.flash = flash
        self._settings = settings if isinstance(settings, str) else json.dumps(settings)
        self.log: list[str] = []
        self.pulses: list[Pulse] = []
        self.starts = 0
        self.changed = threading.Condition()
        self._cluster = Cluster()
        self._interpreter = interpreter
        self._trace, self._on_log = trace, on_log
        self._process: subprocess.Popen[str] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="virtual board", daemon=True)

    def start(self) -> Self:
        """Write its settings and switch the power on."""
        self.flash.mkdir(parents=True, exist_ok=True)
        config = self.flash / "config.json"
        config.touch(mode=0o600)  # it may hold the broker's password
        config.write_text(self._settings)
        if self._trace:
            self._trace.write("time_us,needle,direction,position\n")
        self._spawn()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Switch the power off."""
        self._stopping = True
        if self._process:
            self._process.kill()
            self._thread.join(10)

    @property
    def process(self) -> subprocess.Popen[str]:
        """The interpreter's process."""
        if self._process is None:
            raise GaugeError("the virtual board was not started")
        return self._process

    @property
    def running(self) -> bool:
        """Return whether the firmware runs."""
        return self._thread.is_alive()

    @property
    def lamps(self) -> tuple[str, ...]:
        """The lamps' colours, RRGGBB."""
        return self._cluster.lamps

    @property
    def faults(self) -> list[str]:
        """Mistakes that would damage or block real hardware, as text."""
        return self._cluster.faults

    @property
    def clock(self) -> tuple[int, ...]:
        """What the board's clock was set to: year, month, day, hour, minute, second; empty where it never was."""
        return self._cluster.clock

    @property
    def heap(self) -> list[int]:
        """The bytes that the firmware held, every five seconds."""
        return self._cluster.heap

    @property
    def duties(self) -> dict[int, int]:
        """The duty cycles by pin."""
        return self._cluster.duties

    def shares(self) -> list[float]:
        """Where the needles are just now, as shares of their scales."""
        with self.changed:
            return self._cluster.shares(time.time_ns() // 1000)

    def wait(self, probe: Callable[[], bool], deadline_s: float = PATIENCE_S) -> bool:
        """Wait until `probe` returns true; False at the deadline."""
        end = time.monotonic() + deadline_s
        while not probe():
            if time.monotonic() > end:
                return False
            with self.changed:
                self.changed.wait(0.05)
        return True

    def _spawn(self) -> None:
        self.starts += 1
        command = [*self._interpreter, str(folder() / "virtual" / "run.py"), str(self.flash)]
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the person chose
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**without_secrets(os.environ), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        )

    def _run(self) -> None:
        while True:
            with self.process as process:
                for line in process.stdout or ():
                    self._take(line.rstrip("\n"))
            if self._stopping or self.process.returncode != RESET:
                return
            self._spawn()

    def _take(self, line: str) -> None:
        with self.changed:
            if line.startswith("@"):
                pulses = list(self._cluster.take(line))
                self.pulses += pulses
                if self._trace:
                    self._trace.writelines(f"{p.time_us},{p.needle},{p.way},{p.position}\n" for p in pulses)
            else:
                self.log.append(line)
                self._on_log(line)
            self.changed.notify_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


NEEDLES = ("fuel", "tach", "temperature", "boost")
PER_DEGREE = 12
DARK = "000000"


@dataclass(frozen=True)
class Pulse:
    """One step of one needle."""

    time_us: int
    needle: str
    way: int
    position: int


@dataclass(frozen=True)
class Travel:
    """A needle's way through one segment: after `ends[n]` it has made n + 1 steps."""

    start_us: int = 0
    way: int = 1
    position: int = 0
    ends: tuple[int, ...] = ()

    def at(self, time_us: int) -> int:
        """Return the position at a time."""
        return self.position - self.way * (len(self.ends) - bisect_right(self.ends, time_us - self.start_us))


@dataclass
class Cluster:
    """Needles and lamps as the pins have left them."""

    travels: dict[str, Travel] = field(default_factory=lambda: dict.fromkeys(NEEDLES, Travel()))
    lamps: tuple[str, ...] = (DARK,) * 5
    duties: dict[int, int] = field(default_factory=dict)
    heap: list[int] = field(default_factory=list)
    clock: tuple[int, ...] = ()
    faults: list[str] = field(default_factory=list)

    def take(self, line: str) -> Iterator[Pulse]:
        """Take in one line that begins with @ and yield the steps in it."""
        kind, time_us, *rest = line[1:].split(" ")
        now_us = int(time_us)
        if kind == "pulses":
            name, way, position, waits = rest
            ends = tuple(accumulate(map(int, waits.split(","))))
            self.travels[name] = Travel(now_us, int(way), int(position), ends)
            begins = (0, *ends[:-1])
            for made, begin in enumerate(begins, 1):
                yield Pulse(now_us + begin, name, int(way), int(position) - int(way) * (len(ends) - made))
        elif kind == "step":
            self.travels[rest[0]] = Travel(now_us, int(rest[1]), int(rest[2]))
            yield Pulse(now_us, rest[0], int(rest[1]), int(rest[2]))
        elif kind == "turn":
            self.travels[rest[0]] = Travel(now_us, 1, int(rest[1]))
        elif kind == "lamps":
            self.lamps = tuple(rest)
        elif kind == "duty":
            self.duties[int(rest[0])] = int(rest[1])
        elif kind == "clock":
            self.clock = tuple(map(int, rest))
        elif kind == "heap":
            self.heap.append(int(rest[0]))
        elif kind == "fault":
            self.faults.append(" ".join(rest))

    def shares(self, time_us: int) -> list[float]:
        """Return where the needles are, as shares of their scales; below 0 towards their stops."""
        degrees = (self.travels[name].at(time_us) / PER_DEGREE for name in NEEDLES)
        return [(each - REST_DEGREES) / SCALE_DEGREES for each in degrees]
