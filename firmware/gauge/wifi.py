"""Joins one of the configured networks, and opens the set-up page where none can be joined.

A network that was never reached since set-up may be a typing error: its page opens again after two tries. One that was
there before is waited for; after a long time the page opens for some minutes, and then it is waited for again.
"""

import asyncio

from gauge import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRY_MS = 20_000  # then it is asked again: some access points forget who asked
NEVER_MS, LONG_MS = 35_000, 900_000
ABSENT = 201
ABSENT_MS = 3_000


class Station:
    """The board's place in a network; `radio` is None where there is none to join, `setup(beat)` opens the page."""

    def __init__(self, settings: "dict[str, Any]", radio: "Any", known: "Any", setup: "Any") -> None:
        networks = [settings["wifi"]] + settings["networks"]
        self._networks = [(each["ssid"], each.get("password", "")) for each in networks if each.get("ssid")]
        self._radio, self._known, self._setup = radio, known, setup
        self.setting_up = False

    def connected(self) -> bool:
        """Return whether the board has an address."""
        return self._radio is None or bool(self._radio.connected())

    async def join(self, beat: "Any") -> None:
        """Return once there is a network; `beat()` shows that we live, and returns the milliseconds."""
        since_ms = beat()
        while not self.connected():
            for ssid, password in self._networks:
                if await self._try(ssid, password, beat):
                    return
            if beat() - since_ms > (LONG_MS if self._known.get("reached", False) else NEVER_MS):
                await self.help(beat)
                since_ms = beat()

    async def _try(self, ssid: str, password: str, beat: "Any") -> bool:
        self._radio.connect(ssid, password)
        since_ms = beat()
        while beat() - since_ms < TRY_MS:
            if self._radio.connected():
                print("wifi: joined", ssid, "as", self._radio.address())
                return True
            if len(self._networks) > 1 and beat() - since_ms > ABSENT_MS and self._radio.status() == ABSENT:
                break
            await asyncio.sleep(0.1)
        print("wifi:", ssid, "-", words.wifi(self._radio.status()))
        return False

    async def help(self, beat: "Any") -> None:
        """Open the set-up page for some minutes."""
        if self._radio is None:
            return
        self.setting_up = True
        try:
            await self._setup(beat)
        finally:
            self.setting_up = False
