"""The device: builds its parts from config.json and runs them."""

import asyncio
import gc
import json
import sys

import slots
from gauge import VERSION, board, flash, lamps, ntp, remote, words
from gauge.clock import Clock
from gauge.link import TROUBLE, Link
from gauge.names import Names
from gauge.show import Show
from gauge.usage import epoch
from gauge.wifi import Station

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALIVE_MS = 20_000  # longer than a connection, or the look-up of a name, may take to fail
REPORT_MS = 60_000
NTP_MS, NTP_AGAIN_MS = 3_600_000, 30_000
DAY_S = 86_400
YEAR_S = 366 * DAY_S
WRONG_S = 60  # a clock that is further from a live payload's is set by it
GRACE_MS = 600_000  # for someone who interrupts us to work on the board: the watchdog can't be stopped


class Device:
    """Show, link, clock, watchdog and updates of one cluster."""

    def __init__(self, settings: "dict[str, Any]") -> None:
        from gauge import build

        board.prepare()
        settings["id"] = settings["id"] or board.identity()
        self.settings = settings
        self.known = flash.Known()
        board.begin_clock(max(settings["utc_floor"], self.known.get("utc", 0)))
        self.clock = Clock()
        movements = build.movements(settings)
        self.show = Show(settings, movements, build.pixels(settings), self.clock)
        self._dog: Any = None
        self.radio: Any = None
        if any(each.get("ssid") for each in [settings["wifi"]] + settings["networks"]):
            self.radio = board.wifi("claude-gauge-" + settings["id"][-6:])
        self.wifi = Station(settings, self.radio, self.known, self._set_up)
        self.names = Names(self.clock, board.look_up, self.feed, self.known)
        self.link = Link(
            settings, self.wifi, names=self.names, clock=self.clock, known=self.known, receive=self.receive
        )
        self.update: Any = None
        if settings["ota_key"]:
            from gauge import ota

            self.update = ota.Update(settings, self.link, board)
        self.remote = remote.Remote(settings, self.link, self.show, self.update, board.reset)
        self._asked_ms: int | None = None
        self._questions = 0
        self._served = False  # whether a time server has answered
        self._reported_ms = 0
        self._session = 0

    async def run(self) -> None:
        """Show the node's usage until the power goes."""
        print("gauge: version", VERSION, "device", self.settings["id"], "shows", self.settings["node"])
        tasks = [asyncio.create_task(self._tend()), asyncio.create_task(self.link.run())]
        await self.show.begin(sweep=self.settings["sweep"])
        await self.show.run()
        await asyncio.gather(*tasks)

    def receive(self, topic: bytes, payload: bytes, retained: bool) -> None:
        """Take in a message."""
        base, _, leaf = topic.decode().rpartition("/")
        if base == "claude-gauge/" + self.settings["node"]:
            taken = self.show.receive(leaf.encode(), payload, retained=retained, utc_s=board.utc_s())
            payload_s = epoch(self.show.usage["updated_at"]) if taken and not retained else None
            if payload_s is not None and not self._served:
                self._believe(payload_s)
            return
        self.remote.receive(topic.decode(), payload, retained=retained)
        if self.update:
            self.update.receive(topic.decode(), payload)

    def _believe(self, payload_s: int) -> None:
        # Where no time server answers, a live payload is as good; the next ones correct it if its clock was wrong.
        utc_s = board.utc_s()
        if utc_s is None or abs(payload_s - utc_s) > WRONG_S:
            board.set_clock(payload_s)

    def feed(self) -> bool:
        """Feed the watchdog if the needles' loop and the link run; return whether they do."""
        now_ms = self.clock.ms()
        alive = now_ms - self.show.beat_ms < ALIVE_MS and now_ms - self.link.beat_ms < ALIVE_MS
        if self._dog and alive:
            self._dog.feed()
        return alive

    async def _set_up(self, beat: "Any") -> None:
        from gauge import portal

        if self.radio:
            self.radio.rest()
        if await portal.serve(self.settings, board, self.known, beat, close=True):
            board.reset()

    async def _tend(self) -> None:
        # Four times a second: the watchdog, the time, the report, and whether an update has proved itself.
        limit_ms = self.settings["watchdog_ms"]
        self._dog = board.watchdog(limit_ms) if limit_ms else None
        while True:
            now_ms = self.clock.ms()
            alive = self.feed()
            self.show.linked, self.show.missing = self.link.linked, self._missing()
            await self._keep_clock(now_ms)
            try:
                if self.link.linked:
                    self._report(now_ms)
                if self.update:
                    self.update.tend(now_ms, proven=alive and self.link.linked)
            except TROUBLE as error:  # a report that fails must not stop the device
                print("tend:", repr(error))
            await asyncio.sleep(0.25)

    def _missing(self) -> str:
        if self.wifi.setting_up:
            return "setup"
        return "broker" if self.wifi.connected() else "wifi"

    async def _keep_clock(self, now_ms: int) -> None:
        utc_s = board.utc_s()
        if utc_s is not None:
            self.show.minute = (utc_s // 60 + self.settings["utc_offset_min"]) % 1440
            self._keep_time(utc_s)
        every_ms = NTP_AGAIN_MS if utc_s is None else NTP_MS
        due = self._asked_ms is None or now_ms - self._asked_ms > every_ms
        if self.settings["ntp"] and due and self.wifi.connected():
            self._asked_ms = now_ms
            await self._ask_time()

    def _keep_time(self, utc_s: int) -> None:
        # A payload's time may be far off: it is kept only where it is not, or TLS could fail from the next start on.
        ahead_s = utc_s - max(self.known.get("utc", 0), self.settings["utc_floor"], board.BUILT_S)
        if ahead_s < -DAY_S or DAY_S < ahead_s < YEAR_S or (self._served and ahead_s > DAY_S):
            self.known.keep("utc", utc_s)

    async def _ask_time(self) -> None:
        # In turn the server that was named, and the broker's host: it often is the one machine that has the time.
        hosts = (self.settings["ntp"], self.settings["broker"]["host"])
        host = hosts[self._questions % 2]
        self._questions += 1
        try:
            answer = await ntp.ask(await self.names.find(host))
        except OSError as error:
            print("ntp:", host, words.cause(error))
            return
        if answer is None:
            self.names.doubt(host)
            return
        self.names.good(host)
        board.set_clock(answer)
        self._served = True
        self._questions -= 1  # who answered is asked again

    def _announce(self) -> None:
        from gauge import homeassistant

        self.link.send(*homeassistant.discovery(self.settings, self.link.root, VERSION, board.mac()))
        unload("homeassistant")

    def _report(self, now_ms: int) -> None:
        # At once in every new session, as the broker may have forgotten all, then once a minute.
        if self._session == self.link.sessions and now_ms - self._reported_ms < REPORT_MS:
            return
        if self._session != self.link.sessions:
            if self.settings["discovery"]:
                self._announce()
            self.remote.publish_state()
            if self.update:
                self.update.publish_state()
        self._session, self._reported_ms = self.link.sessions, now_ms
        gc.collect()
        figures = {
            "heap": board.heap(),
            "rssi": self.radio.rssi() if self.radio else None,
            "uptime_s": now_ms // 1000,
            "worst_loop_ms": self.show.worst_ms,
            "sessions": self.link.sessions,
            "version": VERSION,
            "chip": self.settings["chip"],
            "mpy": board.bytecode(),
            "node": self.settings["node"],
            "address": self.radio.address() if self.radio else None,
            "serial": slots.load()["serial"],
        }
        self.link.publish("diagnostics", json.dumps(figures).encode())
        self.show.worst_ms = 0


def unload(*names: str) -> None:
    """Unload modules that are not needed any more, to free memory."""
    package = sys.modules["gauge"]
    for name in names:
        sys.modules.pop("gauge." + name, None)
        if hasattr(package, name):
            delattr(package, name)
    gc.collect()


def main() -> None:
    """Run until an interrupt, or until a restart is needed."""
    device = assemble()
    if device:
        unload("build", "chips", "settings")
        start(device)


def assemble() -> "Device | None":
    """Return the device of config.json; None after a set-up by the page, which needs a restart."""
    from gauge import chips
    from gauge import settings as texts

    chip = chips.name(board.machine_name())
    try:
        settings = texts.load("config.json", chip)
    except ValueError as error:
        settings = texts.merge({}, chip)
        broken([str(error)], settings)
    if settings is None or not settings["broker"]["host"]:
        unconfigured(settings or texts.merge({}, chip))
        return None
    problems = chips.wrong(settings, settings["chip"]) + texts.wrong(settings)
    if problems:
        broken(problems, settings)
    for doubt in chips.doubts(settings, settings["chip"]):
        print("settings:", doubt)
    try:
        return Device(settings)
    except (ValueError, TypeError, OSError) as error:  # a pin or a part that the chip refuses
        if slots.load()["proven"]:
            broken([repr(error)], settings)
        raise


def start(device: "Device | dict[str, Any]") -> None:
    """Run until somebody interrupts us; a main.py from before takes an update over the air with its settings alone."""
    if isinstance(device, dict):
        device = Device(device)
    try:
        asyncio.run(device.run())
    except KeyboardInterrupt:
        if device.settings["watchdog_ms"]:
            board.watchdog(GRACE_MS)
        raise


def unconfigured(settings: "dict[str, Any]") -> None:
    """Open the set-up network and its page, which asks for network and broker."""
    from gauge import portal

    clock = Clock()
    asyncio.run(portal.serve(settings, board, flash.Known(), clock.ms, close=False))


def broken(problems: "list[str]", settings: "dict[str, Any]") -> None:
    """Show and log without end what is wrong with config.json: a restart would change nothing."""
    from gauge import build

    try:
        pixels = build.pixels(settings)
    except (ValueError, TypeError, IndexError, OSError):
        pixels = None
    asyncio.run(_show_problems(problems, pixels))


async def _show_problems(problems: "list[str]", pixels: "Any") -> None:
    clock = Clock()
    printed_ms: int | None = None
    while True:
        now_ms = clock.ms()
        if printed_ms is None or now_ms - printed_ms > 10_000:
            printed_ms = now_ms
            for problem in problems:
                print("config.json:", problem)
            print("config.json: correct it by cable: claude-gauge firmware config --edit")
        if pixels:
            pixels.show([lamps.shade(colour, 0.5) for colour in lamps.broken(now_ms)])
        await asyncio.sleep(0.1)
