"""Resolves host names. A look-up blocks the whole board: 7 s for each dead name server, 12 s for an unknown `.local`.

So names are looked up rarely: an address that worked stays, also over a restart, until a connection to it fails; and
when a look-up fails, the last address is tried. Between two look-ups there is a pause, in which the event loop runs;
before each the watchdog is fed, if needles and link run.
"""

import asyncio

from gauge import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BREATH_MS = 2000
AGAIN_MS = 60_000  # between two look-ups of a name whose last address is known


class Names:
    """Looks names up through `look_up(host)`, which blocks; `before()` is called just ahead of that."""

    def __init__(self, clock: "Any", look_up: "Any", before: "Any", known: "Any") -> None:
        self._clock, self._look_up, self._before, self._known = clock, look_up, before, known
        self._addresses: dict = known.get("addresses", {})
        self._doubted: dict = {}  # names whose address did not work: when they were looked up last
        self._free_ms = 0

    async def find(self, host: str) -> str:
        """Return the address of a name; raises OSError where neither a look-up nor memory has one."""
        if numeric(host):
            return host
        known = self._addresses.get(host)
        if known and not self._due(host):
            return str(known)
        while self._clock.ms() < self._free_ms:
            await asyncio.sleep(0.1)
        self._before()
        try:
            address = self._look_up(host)
        except OSError as error:
            if not known:
                raise
            print("names:", host, words.cause(error), "- keeping", known)
            address = known
        finally:
            now_ms = self._clock.ms()
            self._free_ms = now_ms + BREATH_MS
            if host in self._doubted:
                self._doubted[host] = now_ms
        if address != known:
            self._addresses = dict(self._addresses)
            self._addresses[host] = address
            self._known.keep("addresses", self._addresses)
        return str(address)

    def good(self, host: str) -> None:
        """Note that the address of a name works."""
        self._doubted.pop(host, None)

    def doubt(self, host: str) -> None:
        """Note that the address of a name did not work: it is looked up again, now and then."""
        self._doubted.setdefault(host, None)

    def _due(self, host: str) -> bool:
        if host not in self._doubted:
            return False
        asked_ms = self._doubted[host]
        return asked_ms is None or self._clock.ms() - asked_ms > AGAIN_MS


def numeric(host: str) -> bool:
    """Return whether a host is an address already."""
    return ":" in host or all(part.isdigit() for part in host.split("."))
