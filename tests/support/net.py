"""Loopback ports, and waiting for something with a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# What a busy machine may take for something that takes a moment on a quiet one: the deadline of all that should happen.
PATIENCE_S = 120.0


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(probe: Callable[[], T], what: str, deadline_s: float = PATIENCE_S) -> T:
    """Call `probe` until it answers something true, and return that; fail saying `what` was awaited."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {deadline_s:.0f} s in vain for {what}")
