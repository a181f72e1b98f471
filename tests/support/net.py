"""Loopback ports, and waiting for something with a deadline."""

from __future__ import annotations

import itertools
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")
# Asks servers on loopback; a client for each question would cost 20 ms. Servers come and go: no connection is kept.
HTTP = httpx.Client(trust_env=False, verify=False, headers={"Connection": "close"})  # noqa: S501 - no TLS there
# What a busy machine may take for something that takes a moment on a quiet one: the deadline of all that should happen.
PATIENCE_S = 120.0
# Below what systems give to connections and to port 0: nothing takes such a port by chance before it is listened on.
_PORTS = range(10_000, 32_000, 2)
_turns = itertools.count(secrets.randbelow(len(_PORTS)))  # each process begins elsewhere, and gives none twice
# Other processes test at the same time and must not be given the same port before it is listened on: the UDP port
# after it is held meanwhile, which works between processes on every system and ends with the process.
_held: deque[socket.socket] = deque()
_HELD_AT_ONCE = 100


def free_port() -> int:
    """Return a loopback TCP port that is free, and stays so until the test takes it."""
    while True:
        port = _PORTS[next(_turns) % len(_PORTS)]
        holder = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                holder.bind(("127.0.0.1", port + 1))
                probe.bind(("127.0.0.1", port))
            except OSError:
                holder.close()
                continue
        _held.append(holder)
        if len(_held) > _HELD_AT_ONCE:
            _held.popleft().close()
        return port


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(probe: Callable[[], T], what: str, deadline_s: float = PATIENCE_S) -> T:
    """Call `probe` until it answers something true, and return that; fail saying `what` was awaited.

    The longer it waited, the longer its pauses: a probe may cost more than what it waits for.
    """
    begun = now = time.monotonic()
    while now < begun + deadline_s:
        found = probe()
        if found:
            return found
        time.sleep(min(0.2, max(0.01, (now - begun) / 20)))
        now = time.monotonic()
    raise AssertionError(f"waited {deadline_s:.0f} s in vain for {what}")
