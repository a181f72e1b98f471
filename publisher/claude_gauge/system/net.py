"""Ports of this machine."""

from __future__ import annotations

import socket


def answers(host: str, port: int, seconds: float = 0.5) -> bool:
    """Tell whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), seconds):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
