"""Moves needles and lamps in short ticks; the link passes payloads to it and is never waited for."""

import asyncio
import gc

from gauge import lamps
from gauge.scale import GAUGES, share
from gauge.usage import REST, Freshness, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TICK_S = 0.004
LAMP_MS = 33


class Show:
    """The cluster: what was received last, four movements and five lamps."""

    def __init__(self, settings: "dict[str, Any]", movements: list, pixels: "Any", clock: "Any") -> None:
        self.usage = dict(REST, waiting=False, limit_before_reset=False)
        self.freshness = Freshness()
        self.linked = False
        self.missing = "wifi"  # where there is no link: wifi, broker, or somebody at the set-up page
        self.worst_ms = 0
        self.beat_ms = 0  # when the show last showed that it lives
        self.minute: int | None = None  # of the day, for the night hours
        self._movements, self._pixels, self._clock = movements, pixels, clock
        self._tach_high = settings["tach_high"]
        self._day = settings["lamps"]["brightness"]
        self._night = settings["night"]
        self._parade: list = []  # shares that all needles go through first
        self._shares: list | None = None
        self._colours: list | None = None
        self._lamps_ms = -LAMP_MS
        self._first = 0

    def receive(self, leaf: bytes, payload: bytes, *, retained: bool, utc_s: "int | None") -> bool:
        """Take in a message of the node that we show; return whether it was a payload."""
        now_ms = self._clock.ms()
        if leaf == b"status":
            self.freshness.status(payload)
        elif leaf == b"usage" and payload:  # an empty one only clears what was retained
            usage = parse(payload)
            if usage is None:
                print("show: dropped what is no usage payload")
                return False
            self.usage = usage
            self.freshness.received(usage["updated_at"], now_ms, retained=retained, utc_s=utc_s)
            return True
        return False

    async def begin(self, *, sweep: bool) -> None:
        """Find every needle's stop, then sweep the whole scale once."""
        for movement in self._movements:
            movement.home()
        await self._settle()
        if sweep:
            for target in (1.0, None):
                for movement in self._movements:
                    movement.point(target)
                await self._settle()

    async def _settle(self) -> None:
        while any(movement.moving() for movement in self._movements):
            now_ms = self._clock.ms()
            self.beat_ms = now_ms
            self._move(now_ms)
            self._light([lamps.WHITE] * len(lamps.LAMPS), now_ms)
            await asyncio.sleep(TICK_S)

    async def run(self) -> None:
        """Call `tick` without end."""
        self.beat_ms = self._clock.ms()
        while True:
            now_ms = self._clock.ms()
            self.worst_ms = max(self.worst_ms, now_ms - self.beat_ms)
            self.beat_ms = now_ms
            self.tick(now_ms)
            await asyncio.sleep(TICK_S)

    def tick(self, now_ms: int) -> None:
        """Point the needles where they belong and make the moves that are due."""
        stale = self.freshness.stale(now_ms)
        if self._parade:
            shares = [self._parade[0]] * 4
            if shares == self._shares and not any(movement.moving() for movement in self._movements):
                self._parade.pop(0)
        else:
            shares = [None] * 4 if stale else self._wanted()
        if shares != self._shares:
            self._shares = shares
            for movement, wanted in zip(self._movements, shares):
                movement.point(wanted)
        self._move(now_ms)
        if now_ms - self._lamps_ms >= LAMP_MS:
            self._light(self._glow(now_ms, stale=stale), now_ms)

    def identify(self) -> None:
        """Sweep all needles once with all lamps lit, so that a person finds this board."""
        self._parade = [1.0, None]

    def dim(self, day: float, night: "list | None") -> None:
        """Set the brightness of the day and of the night."""
        self._day, self._night = day, night

    def _glow(self, now_ms: int, *, stale: bool) -> list:
        if self._parade:
            return [lamps.WHITE] * len(lamps.LAMPS)
        return lamps.colours(self.usage, now_ms, stale=stale, linked=self.linked, missing=self.missing)

    def _move(self, now_ms: int) -> None:
        self._first = (self._first + 1) % len(self._movements)  # nobody is always first at a shared transmitter
        for place in range(len(self._movements)):
            try:
                self._movements[place - self._first].poll(now_ms)
            except MemoryError:  # no step is lost by it: the next tick tries again, with the heap swept
                print("show: out of memory")
                gc.collect()

    def _wanted(self) -> list:
        usage = self.usage
        return [
            None if usage[field] is None else share(usage[field], self._tach_high if name == "tach" else high)
            for name, field, high in GAUGES
        ]

    def _light(self, colours: list, now_ms: int) -> None:
        self._lamps_ms = now_ms
        level = lamps.brightness(self._day, self._night, self.minute)
        dimmed = [lamps.shade(colour, level) for colour in colours]
        if dimmed != self._colours:
            self._colours = dimmed
            self._pixels.show(dimmed)
