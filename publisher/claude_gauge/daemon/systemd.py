"""Tells systemd that the service is ready and alive, where systemd started it; elsewhere nothing happens."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send a state such as `READY=1` or `WATCHDOG=1` (see sd_notify(3)); False where nobody listens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(state.encode(), name)
    except OSError:
        return False
    return True


class Watchdog:
    """Called by the loop at each pass; systemd restarts a service whose loop stands still for WATCHDOG_USEC."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        patience = environ.get("WATCHDOG_USEC", "")
        self.every_s = int(patience) / 3e6 if ours and patience.isdecimal() and int(patience) > 0 else math.inf

    def __call__(self) -> float:
        """Say that the loop is alive; return within how many seconds it has to come by again."""
        if self.every_s < math.inf:
            notify("WATCHDOG=1", self._environ)
        return self.every_s
