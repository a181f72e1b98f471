"""Which names the server answers to: a page elsewhere that points its own name here (DNS rebinding) reads nothing."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on


class Hosts:
    """The Host headers that are ours, by the host that the server listens on and the names that the person added."""

    def __init__(self, listens_on: str, added: Iterable[str] = ()) -> None:
        self._wildcard = listens_on in WILDCARDS
        own = socket.gethostname().lower()
        names = (
            {own, own.partition(".")[0], own.partition(".")[0] + ".local"} if self._wildcard else {listens_on.lower()}
        )
        self._names = {*names, "localhost", *(name.lower() for name in added)}

    def ours(self, host: str | None) -> bool:
        """Tell whether a Host header (without its port) names this server.

        An address can't be rebound, only a name can: where all addresses are listened on, any address is fine.
        """
        if host is None or host in self._names or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return self._wildcard or address.is_loopback
