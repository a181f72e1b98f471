"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """CPU seconds and times that a thread went to sleep, up to a moment of the steady clock."""

    at: float
    cpu_s: float
    sleeps: int

    def since(self, before: Cost) -> tuple[float, float]:
        """Return the share of one core, and wake-ups per second, since an earlier look."""
        passed = self.at - before.at
        return (self.cpu_s - before.cpu_s) / passed, (self.sleeps - before.sleeps) / passed


def cost(pid: int) -> Cost:
    """Look at a process, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    sleeps = sum(_number(task / "status", "voluntary_ctxt_switches") for task in Path(f"/proc/{pid}/task").iterdir())
    return Cost(time.monotonic(), (int(fields[11]) + int(fields[12])) * _TICK_S, sleeps)


def rss_mb(pid: int, *, peak: bool = False) -> float:
    """Return the resident memory, or the most that it ever was, in MB."""
    return _number(Path(f"/proc/{pid}/status"), "VmHWM" if peak else "VmRSS") / 1000


def _number(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0
