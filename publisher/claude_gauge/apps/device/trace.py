"""What the virtual board tells of its pins, line by line, and what that makes of needles and lamps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES

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
