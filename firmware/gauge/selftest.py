"""Try every needle and lamp, one after the other, for whoever has just soldered them."""

import asyncio

from gauge import board, build, lamps, settings
from gauge.clock import Clock
from gauge.scale import GAUGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOLD_S = 0.4


async def needles(movements: list) -> None:
    """Send each needle to its stop, its zero mark, the middle and the end of its scale."""
    clock = Clock()
    for movement in movements:
        movement.home()
    await arrive(movements, clock)
    for movement, gauge in zip(movements, GAUGES):
        print("selftest: needle", gauge[0], "- 0 %, 50 %, 100 %, stop")
        for share in (0.0, 0.5, 1.0, None):
            movement.point(share)
            await arrive([movement], clock)
            await asyncio.sleep(HOLD_S)


async def arrive(movements: list, clock: Clock) -> None:
    """Wait until these movements stand."""
    while any(movement.moving() for movement in movements):
        for movement in movements:
            movement.poll(clock.ms())
        await asyncio.sleep(0.002)


async def lights(pixels: "Any") -> None:
    """Light each lamp in turn, MODEL in each of its colours."""
    shades = [(0, "red"), (0, "green"), (0, "blue")] + [(place, "white") for place in range(1, len(lamps.LAMPS))]
    colours = {"red": lamps.RED, "green": lamps.GREEN, "blue": (0, 0, 255), "white": lamps.WHITE}
    for place, shade in shades:
        print("selftest: lamp", lamps.LAMPS[place], shade)
        shown = [lamps.OFF] * len(lamps.LAMPS)
        shown[place] = lamps.shade(colours[shade], 0.5)
        pixels.show(shown)
        await asyncio.sleep(HOLD_S)
    pixels.show([lamps.OFF] * len(lamps.LAMPS))


def stand(name: str, place: float) -> None:
    """Send one needle to a share of the scale as if it had no calibration, and leave it there."""
    config = settings.load("config.json") or settings.merge({})
    needle = dict(config["needles"][name])
    for key in ("zero", "span", "points"):
        needle.pop(key, None)
    config["needles"] = dict(config["needles"])
    config["needles"][name] = needle
    movement = build.movements(config)[[gauge[0] for gauge in GAUGES].index(name)]
    asyncio.run(_go(movement, place))
    print("selftest:", name, "stands")


async def _go(movement: "Any", place: float) -> None:
    movement.home()
    movement.point(place)
    await arrive([movement], Clock())


def run() -> None:
    """Try everything that config.json names."""
    config = settings.load("config.json") or settings.merge({})
    print("selftest: device", config["id"] or board.identity(), "movement", config["movement"], "heap", board.heap())
    pixels = build.pixels(config)
    movements = build.movements(config)
    asyncio.run(lights(pixels))
    asyncio.run(needles(movements))
    print("selftest: done")
