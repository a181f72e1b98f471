"""MicroPython's `neopixel` on virtual hardware."""

import hardware
from machine import Pin


class NeoPixel:
    """A chain of WS2812 pixels."""

    def __init__(self, _pin: Pin, count: int) -> None:
        self._colours = [(0, 0, 0)] * count

    def __setitem__(self, place: int, colour: tuple) -> None:
        if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
            hardware.tell("fault", f"colour {colour!r}")
        self._colours[place] = colour

    def write(self) -> None:
        """Send the colours to the chain."""
        hardware.tell("lamps", *["{:02x}{:02x}{:02x}".format(*colour) for colour in self._colours])
