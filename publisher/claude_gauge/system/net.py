"""Addresses, ports and host names of this machine; TLS contexts; a way to end another thread's wait for sockets."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path

WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the CA that a person named, or else the system's; raises OSError.

    From Python 3.13 on OpenSSL is strict by default and refuses a home-made CA without keyUsage, as mosquitto-tls(7)
    shows how to make one. It was named by the person: it is taken as it is.
    """
    context = ssl.create_default_context(cafile=ca)
    if ca is not None:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def answers(host: str, port: int, seconds: float = 0.5) -> bool:
    """Return whether something accepts connections there."""
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


def is_loopback(host: str) -> bool:
    """Return whether an IP address, or the name `localhost`, is loopback; other names may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_address() -> str | None:
    """Return this machine's address towards other networks, None where it has none; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def host_of(address: str) -> str:
    """Take the port, and IPv6's brackets, off `host:port`."""
    return address.rpartition(":")[0].strip("[]")


class OwnHosts:
    """The Host headers that are ours, by the host that is listened on and more names.

    A page elsewhere can point its own name at this machine (DNS rebinding); an address can't be rebound. So only
    names on a list are ours; where all addresses are listened on, any address is.
    """

    def __init__(self, listens_on: str, added: Iterable[str] = ()) -> None:
        self._wildcard = listens_on in WILDCARDS
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        names = {own, short, f"{short}.local"} if self._wildcard else {listens_on.lower()}
        self._names = {*names, "localhost", *(name.lower() for name in added)}

    def __call__(self, host: str | None) -> bool:
        """Return whether a Host header (without its port) names this server."""
        if host is None or host in self._names or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return self._wildcard or address.is_loopback


class Wake:
    """A pair of sockets: what is written to one ends a wait on the other."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.settimeout(0)
        self._writer.settimeout(0)

    def __call__(self) -> None:
        """End the present wait, or the next one."""
        with contextlib.suppress(OSError):  # full: a wake-up is under way already
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(OSError):
            self.reader.recv(4096)

    def close(self) -> None:
        """Close both; a later wake-up does nothing."""
        self.reader.close()
        self._writer.close()

    def rest(self, seconds: float, over: Callable[[], bool]) -> None:
        """Wait so long, or until `over` says so after a wake-up."""
        end = time.monotonic() + seconds
        while not over() and (left := end - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self.reader, select.POLLIN)
            poll.poll(left * 1000)
            self.drain()
