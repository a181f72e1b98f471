"""The whole device: puts its parts together and keeps them running."""

import asyncio
import gc
import json

from gauge import VERSION, board, build, diagnosis, ntp, ota
from gauge.clock import Clock
from gauge.link import TROUBLE, Link
from gauge.show import Show
from gauge.usage import epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALIVE_MS = 20_000  # longer than a connection may take to fail
REPORT_MS = 60_000
NTP_MS, NTP_AGAIN_MS = 3_600_000, 30_000
GRACE_MS = 600_000  # for someone who interrupts us to work on the board: the watchdog can't be stopped


class Device:
    """Show, link, clock, watchdog and updates of one cluster."""

    def __init__(self, settings: "dict[str, Any]") -> None:
        board.prepare()
        settings["id"] = settings["id"] or board.identity()
        self.settings = settings
        self.clock = Clock()
        self.wifi: Any = None
        wifi = settings["wifi"]
        if wifi["ssid"]:
            self.wifi = board.wifi(wifi["ssid"], wifi["password"], "claude-gauge-" + settings["id"][-6:])
        pixels = build.pixels(settings)
        self.show = Show(settings, build.movements(settings), pixels, self.clock)
        self.link = Link(settings, self.wifi, self.clock, self.hear)
        self.update = ota.Update(settings, self.link, board.reset) if settings["ota_key"] else None
        self._asked_ms: int | None = None
        self._reported_ms = 0
        self._session = 0

    async def run(self) -> None:
        """Show the node's usage until the power goes."""
        print("gauge: version", VERSION, "device", self.settings["id"], "shows", self.settings["node"])
        tasks = [asyncio.create_task(self._tend()), asyncio.create_task(self.link.run())]
        await self.show.begin(sweep=self.settings["sweep"])
        await self.show.run()
        await asyncio.gather(*tasks)

    def hear(self, topic: bytes, payload: bytes, retained: bool) -> None:
        """Take in a message."""
        base, _, leaf = topic.decode().rpartition("/")
        if base == "claude-gauge/" + self.settings["node"]:
            utc_s = board.utc_s()
            taken = self.show.hear(leaf.encode(), payload, retained=retained, utc_s=utc_s)
            told_s = epoch(self.show.usage["updated_at"]) if taken else None
            if utc_s is None and not retained and told_s is not None:
                board.set_clock(told_s)  # where no time server can be reached, a live payload is as good
        elif self.update:
            self.update.hear(topic.decode(), payload)

    async def _tend(self) -> None:
        # Four times a second: the watchdog, the time, the report, and whether an update has proved itself.
        limit_ms = self.settings["watchdog_ms"]
        dog = board.watchdog(limit_ms) if limit_ms else None
        while True:
            now_ms = self.clock.ms()
            alive = now_ms - self.show.beat_ms < ALIVE_MS and now_ms - self.link.beat_ms < ALIVE_MS
            if dog and alive:
                dog.feed()
            self.show.linked = self.link.linked
            await self._tell_time(now_ms)
            try:
                if self.link.linked:
                    self._report(now_ms)
                if self.update:
                    self.update.tend(now_ms, proven=alive and self.link.linked)
            except TROUBLE as error:  # of a report nobody need die
                print("tend:", repr(error))
            await asyncio.sleep(0.25)

    async def _tell_time(self, now_ms: int) -> None:
        utc_s = board.utc_s()
        if utc_s is not None:
            self.show.minute = (utc_s // 60 + self.settings["utc_offset_min"]) % 1440
        every_ms = NTP_AGAIN_MS if utc_s is None else NTP_MS
        due = self._asked_ms is None or now_ms - self._asked_ms > every_ms
        if self.settings["ntp"] and due and (self.wifi is None or self.wifi.connected()):
            self._asked_ms = now_ms
            answer = await ntp.ask(self.settings["ntp"])
            if answer is not None:
                board.set_clock(answer)

    def _report(self, now_ms: int) -> None:
        # At once in every new session, as the broker may have forgotten all, then once a minute.
        if self._session == self.link.sessions and now_ms - self._reported_ms < REPORT_MS:
            return
        prefix = self.settings["discovery"]
        if self._session != self.link.sessions and prefix:
            self.link.send(*diagnosis.discovery(prefix, self.settings["id"], self.link.root, VERSION))
        self._session, self._reported_ms = self.link.sessions, now_ms
        gc.collect()
        figures = {
            "heap": board.heap(),
            "rssi": self.wifi.rssi() if self.wifi else None,
            "uptime_s": now_ms // 1000,
            "worst_loop_ms": self.show.worst_ms,
            "sessions": self.link.sessions,
            "version": VERSION,
        }
        self.link.publish("diagnostics", json.dumps(figures).encode())
        self.show.worst_ms = 0


def start(settings: "dict[str, Any]") -> None:
    """Run until somebody interrupts us."""
    try:
        asyncio.run(Device(settings).run())
    except KeyboardInterrupt:
        if settings["watchdog_ms"]:
            board.watchdog(GRACE_MS)
        raise
