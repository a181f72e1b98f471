"""Builds the movements and lamps that the settings name."""

from gauge import board, chips, lamps, movement, scale
from gauge import settings as texts
from gauge.clock import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def movements(settings: "dict[str, Any]") -> list:
    """Return the four movements, left to right. A quad driver is kept asleep until its inputs are outputs of ours."""
    reset = settings["reset_pin"] if settings["movement"] == "quad" else -1
    if reset >= 0:
        board.out(reset, 0)
    parts: list = []
    if settings["movement"] == "quad":
        there = chips.transmitters(settings["chip"])
        parts = board.transmitters(min(len(scale.GAUGES), there), all_of_them=there <= len(scale.GAUGES))
    made = [_movement(settings, parts, place, gauge[0]) for place, gauge in enumerate(scale.GAUGES)]
    if reset >= 0:
        board.out(reset, 1)
    return made


def _movement(settings: "dict[str, Any]", parts: list, place: int, name: str) -> "Any":
    needle = settings["needles"][name]
    dial, pins, kind = scale.Dial(needle), needle["pins"], settings["movement"]
    reverse = bool(needle.get("reverse"))
    if kind == "quad":
        pulses = board.pulses(parts[place % len(parts)], pins[0])
        return movement.Quad(pulses, board.out(pins[1]), dial, reverse=reverse)
    if kind == "direct":
        return movement.Direct([board.out(pin) for pin in pins], dial, Clock(), reverse=reverse)
    if kind == "voltmeter":
        return movement.voltmeter(board.pwm(pins[0], 1000), dial, needle.get("full", 1.0))
    if kind == "servo":
        low_us, high_us = needle.get("low_us", 600), needle.get("high_us", 2400)
        return movement.servo(board.pwm(pins[0], 50), dial, *((high_us, low_us) if reverse else (low_us, high_us)))
    raise ValueError(f"settings: movement={kind!r}; take quad, direct, voltmeter or servo")


def pixels(settings: "dict[str, Any]") -> "Any":
    """Return the lamps."""
    pins = settings["lamps"]["pins"]
    settings["night"] = texts.night(settings["lamps"]["night"])
    return board.leds(pins) if settings["lamps"]["kind"] == "leds" else board.pixels(pins[0], len(lamps.LAMPS))
