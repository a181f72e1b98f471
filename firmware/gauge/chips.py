"""The chips that the firmware runs on: which pins may drive something, what is wired where, and what can't be.

Pure, and without the rest of the firmware: `claude-gauge firmware install`, the README's tables and the drawings read
this very file. A wiring is written into config.json at installation, so a later map moves nobody's wires.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "ESP32"
NEEDLES = ("fuel", "tach", "temperature", "boost")
MOVEMENTS = {"quad": (2,), "direct": (3, 4), "voltmeter": (1,), "servo": (1,)}  # how many pins a needle has
LEDS = 7
NAMES = ("ESP32", "ESP32-S2", "ESP32-S3", "ESP32-C3", "ESP32-C6")
TRANSMITTERS = (8, 4, 4, 2, 2)  # of the RMT: each plays one needle's pulses at a time
DUTIES = (16, 8, 8, 6, 6)  # channels of the LED controller, for duty cycles

# Pins by what they are for; a letter each: o an output that is quiet at boot, b read at boot, s the serial port, u USB,
# f flash, p PSRAM where there is some, 8 eight-bit PSRAM or flash where there is some, i an input only.
PINS = (
    "o4,13-14,18-19,21-23,25-27,32-33 b0,2,5,12,15 s1,3 f6-11 p16-17 i34-39",
    "o1-18,21,33-42 b0,45 s43-44 u19-20 f27-32 p26 i46",
    "o1-2,4-18,21,38-42,47-48 b0,3,45-46 s43-44 u19-20 f26-32 833-37",
    "o0-1,3-7,10 b2,8-9 s20-21 u18-19 f11-17",
    "o0-3,6-7,10-11,14,18-23 b4-5,8-9,15 s16-17 u12-13 f24-30",
)
WHY = {
    "b": "is read at boot: what hangs on it may keep the board from starting",
    "s": "is the serial port, and twitches at boot",
    "u": "is USB",
    "f": "belongs to the flash",
    "p": "belongs to the PSRAM",
    "8": "belongs to the eight-bit PSRAM or flash",
    "i": "is an input only",
}
DOUBTFUL = "bs"  # may work, with care; all else is refused

# Step and direction of each needle, RESET, lamps. Two needles that share a transmitter may share their direction.
QUAD = (
    (18, 23, 19, 25, 21, 26, 22, 27, 32, 33),
    (4, 5, 6, 7, 8, 9, 10, 11, 12, 13),
    (4, 5, 6, 7, 15, 16, 17, 18, 8, 9),
    (0, 4, 1, 5, 3, 4, 6, 5, 7, 10),
    (0, 18, 1, 19, 2, 20, 3, 21, 22, 23),
)
# Three outputs for each needle, and the lamps; the ESP32-C3 has too few.
DIRECT: tuple = (
    (13, 14, 18, 19, 21, 22, 23, 25, 26, 27, 32, 33, 4),
    (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
    (4, 5, 6, 7, 15, 16, 17, 18, 8, 9, 10, 11, 12),
    (),
    (0, 1, 2, 3, 6, 7, 18, 19, 20, 21, 22, 23, 10),
)


def name(machine: str) -> str:
    """Return which chip `sys.implementation._machine` means, as it is in NAMES; empty for any other one."""
    text = machine.upper().replace("-", "").rpartition("ESP32")
    if not text[1]:
        return ""
    short = text[2][:2]
    full = "ESP32-" + short if short[1:].isdigit() and not short[:1].isdigit() else "ESP32"
    return full if full in NAMES else ""


def guess(pins: "list[int]") -> str:
    """Return which chip has just these pins, for a board whose name says nothing; empty for none that we know."""
    if not pins:
        return ""
    if 33 in pins and 22 in pins:
        return "ESP32"
    if 33 in pins:
        return "ESP32-S3" if 21 in pins else ""
    if 22 in pins:
        return "ESP32-C6"
    return "ESP32-C3" if 10 in pins and max(pins) <= 21 else ""


def transmitters(chip: str) -> int:
    """Return how many needles the chip can drive at once."""
    return TRANSMITTERS[NAMES.index(chip)]


def wiring(chip: str, movement: str) -> "dict[str, Any]":
    """Return the chip's own wiring, in the form of config.json."""
    place = NAMES.index(chip)
    quad = QUAD[place]
    if movement == "direct" and DIRECT[place]:
        pins, lamps = [list(DIRECT[place][3 * n : 3 * n + 3]) for n in range(4)], DIRECT[place][12]
    elif movement in ("voltmeter", "servo"):
        pins, lamps = [[quad[2 * n]] for n in range(4)], quad[9]
    else:
        pins, lamps = [list(quad[2 * n : 2 * n + 2]) for n in range(4)], quad[9]
    needles = {needle: {"pins": own} for needle, own in zip(NEEDLES, pins)}
    return {"needles": needles, "reset_pin": quad[8], "lamps": {"pins": [lamps]}}


def kind(chip: str, pin: int) -> str:
    """Return the letter of a pin; empty for one that the chip has not."""
    for group in PINS[NAMES.index(chip)].split():
        for span in group[1:].split(","):
            first, _, last = span.partition("-")
            if int(first) <= pin <= int(last or first):
                return group[0]
    return ""


def used(settings: "dict[str, Any]") -> "list[tuple[str, int]]":
    """List the pins that drive something, each with the setting that names it."""
    pins = []
    for needle in NEEDLES:
        pins += [("needles." + needle + ".pins", pin) for pin in settings["needles"][needle]["pins"]]
    if settings["movement"] == "quad" and settings["reset_pin"] != -1:
        pins.append(("reset_pin", settings["reset_pin"]))
    return pins + [("lamps.pins", pin) for pin in settings["lamps"]["pins"]]


def wrong(settings: "dict[str, Any]", chip: str, *, psram: bool = False, eight: bool = False) -> "list[str]":
    """Return what can't be, a sentence each, by the names of the settings; what is in doubt is in `doubts`."""
    problems = _shape(settings, chip)
    if problems:
        return problems
    for setting, pin in used(settings):
        letter = kind(chip, pin)
        if not letter:
            problems.append(f"{setting}: the {chip} has no GPIO {pin}")
        elif letter in "ufi" or (letter == "p" and psram) or (letter == "8" and eight):
            problems.append(f"{setting}: GPIO {pin} of the {chip} {WHY[letter]}")
    return problems + _twice(settings, chip)


def doubts(settings: "dict[str, Any]", chip: str) -> "list[str]":
    """Return which pins may give trouble."""
    found = [(setting, pin, kind(chip, pin)) for setting, pin in used(settings)]
    return [
        f"{setting}: GPIO {pin} of the {chip} {WHY[letter]}" for setting, pin, letter in found if letter in DOUBTFUL
    ]


def _shape(settings: "dict[str, Any]", chip: str) -> "list[str]":
    # What the pins are for, before anybody looks at one of them.
    movement, lamps = settings["movement"], settings["lamps"]
    if movement not in MOVEMENTS:
        return [f"movement: {movement!r} is none of " + ", ".join(sorted(MOVEMENTS))]
    if lamps["kind"] not in ("ws2812", "leds"):
        return ["lamps.kind: {!r} is neither ws2812 nor leds".format(lamps["kind"])]
    wanted = {"needles." + needle + ".pins": MOVEMENTS[movement] for needle in NEEDLES}
    wanted["lamps.pins"] = (LEDS,) if lamps["kind"] == "leds" else (1,)
    given = {"needles." + needle + ".pins": settings["needles"][needle].get("pins") for needle in NEEDLES}
    given["lamps.pins"] = lamps["pins"]
    problems = []
    for setting, counts in wanted.items():
        pins = given[setting]
        if not isinstance(pins, list) or not all(type(pin) is int for pin in pins):
            problems.append(f"{setting}: {pins!r} is no list of GPIO numbers")
        elif len(pins) not in counts:
            text = " or ".join([str(count) for count in counts])
            problems.append(f"{setting}: {len(pins)} pins where {text} are needed")
    duties = (4 if movement in ("voltmeter", "servo") else 0) + (LEDS if lamps["kind"] == "leds" else 0)
    if duties > DUTIES[NAMES.index(chip)]:
        problems.append(
            f"movement, lamps.kind: {duties} duty cycles, and the {chip} has {DUTIES[NAMES.index(chip)]}; take ws2812"
        )
    return problems


def _twice(settings: "dict[str, Any]", chip: str) -> "list[str]":
    # A pin has one duty; but needles that take turns on one transmitter may share their direction.
    seen: dict = {}
    problems = []
    for setting, pin in used(settings):
        before = seen.get(pin)
        seen[pin] = before or setting
        if before and not (settings["movement"] == "quad" and _share(settings, chip, before, setting, pin)):
            problems.append(f"{setting}: GPIO {pin} is taken by {before} already")
    return problems


def _share(settings: "dict[str, Any]", chip: str, one: str, other: str, pin: int) -> bool:
    needles = [text.split(".")[1] for text in (one, other) if text.startswith("needles.")]
    if len(needles) < 2:
        return False
    places = [NEEDLES.index(needle) % transmitters(chip) for needle in needles]
    return places[0] == places[1] and all(settings["needles"][needle]["pins"][1] == pin for needle in needles)
