"""Which chip a board has and which pins it may use: the firmware's own map, checked against the board's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claude_gauge.apps.device.build import pure
from claude_gauge.apps.device.serial_board import About
from claude_gauge.apps.device.settings import merged
from claude_gauge.errors import GaugeError

UNIX = "linux"  # MicroPython's unix port, which the tests take for a board


def names() -> tuple[str, ...]:
    """Return the chips that the firmware runs on."""
    return tuple(pure("chips").NAMES)


def wiring(chip: str, movement: str = "quad") -> dict[str, Any]:
    """Return a chip's own wiring in the form of config.json, with all of its defaults."""
    return dict(pure("settings").merge({"movement": movement}, chip))


def chip_of(about: About) -> str:
    """Return which chip a board has; raises GaugeError for one that the firmware does not run on."""
    firmware = pure("chips")
    named = str(firmware.name(about.machine))
    if named:
        return named
    guessed = str(firmware.guess(about.pins)) if about.platform in ("esp32", UNIX) else ""
    if not guessed or "ESP32" in about.machine.upper():
        raise GaugeError(f"the board is a {about.machine or about.platform}; the firmware runs on {', '.join(names())}")
    return guessed


def wired(config: Mapping[str, Any], chip: str) -> dict[str, Any]:
    """Return settings with every pin written out, so that a later default can't change the pins of a soldered board."""
    movement = str(config.get("movement", "quad"))
    own = pure("chips").wiring(chip, movement)
    if movement != "quad":
        del own["reset_pin"]
    if config.get("lamps", {}).get("kind") == "leds":
        del own["lamps"]
    return {**merged(own, config), "chip": chip}


def check(config: Mapping[str, Any], about: About, chip: str) -> list[str]:
    """Return warnings about settings; raises GaugeError naming each impossible setting."""
    chips, settings = pure("chips"), pure("settings")
    full = settings.merge(dict(config), chip)
    eight = "OCT" in about.machine.upper()
    problems = [*chips.wrong(full, chip, psram=about.psram, eight=eight), *settings.wrong(full)]
    if not problems and about.pins:
        missing = [(setting, pin) for setting, pin in chips.used(full) if pin not in about.pins]
        problems = [f"{setting}: this board's MicroPython has no GPIO {pin}" for setting, pin in missing]
    if problems:
        raise GaugeError("; ".join(problems) + " (claude-gauge firmware config --edit)")
    return list(chips.doubts(full, chip))
