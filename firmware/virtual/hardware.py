"""A cluster without a soldering iron: the chip's pins, and the movements and lamps that are wired to them.

`machine`, `esp32`, `network` and `neopixel` beside this file have the names of MicroPython's own; the firmware's files
run over them unchanged. What happens at the pins is written to the standard output, a line each, beginning with @ :

    @pulses TIME NEEDLE WAY POSITION WAIT,WAIT,...   step pulses that start now; the position is after the last one
    @step TIME NEEDLE WAY POSITION                   one full step of a directly driven movement
    @duty TIME PIN DUTY                              a duty cycle of 0..65535
    @lamps TIME RRGGBB RRGGBB ...                    the pixels
    @clock TIME YEAR MONTH DAY HOUR MINUTE SECOND    what the real-time clock is set to
    @heap TIME BYTES                                 what the firmware holds, garbage apart
    @fault TIME TEXT                                 what the real hardware would not forgive

TIME is in microseconds since 1970; a position counts twelfths of a degree from the lower stop.
"""

import json
import sys
import time

SWEEP = 3780
NEEDLES = ("fuel", "tach", "temperature", "boost")
COILS = ((1, 0, 1), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))
START = (1234, 3780, 17, 2500)  # where the needles happened to stand when the power came


def now_us() -> int:
    """Return the microseconds since 1970."""
    return time.time_ns() // 1000


def tell(kind: str, *parts: object) -> None:
    """Write a line of the trace, for just now."""
    tell_at(now_us(), kind, *parts)


def tell_at(time_us: int, kind: str, *parts: object) -> None:
    """Write a line of the trace."""
    sys.stdout.write("@{} {} {}\n".format(kind, time_us, " ".join([str(part) for part in parts])))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


class Motor:
    """One movement between its stops; it knows where it really is, which the firmware does not."""

    def __init__(self, name: str, at: int) -> None:
        self.name = name
        self.at = at
        self.pins: tuple = ()
        self._state = 0

    def move(self, way: int, steps: int) -> None:
        """Turn, as far as the stops allow."""
        self.at = min(SWEEP, max(0, self.at + way * steps))

    def coils(self, levels: dict) -> None:
        """See what the outputs do to the coils, and turn with them."""
        state = [levels.get(pin, 0) for pin in self.pins]
        if len(state) == 4:
            if state[1] != state[2]:
                return  # between two states: one pin changes after the other
            del state[1]
        if tuple(state) not in COILS:
            return
        state = COILS.index(tuple(state))
        way = {1: 1, 5: -1}.get((state - self._state) % 6)
        if way:
            self.move(way, 4)
            tell("step", self.name, way, self.at)
        self._state = state


class Hardware:
    """All that is wired to the chip, as the settings say."""

    def __init__(self) -> None:
        self.levels: dict = {}
        self.motors = [Motor(name, at) for name, at in zip(NEEDLES, START)]
        self.by_step: dict = {}
        self.by_coil: dict = {}
        self.directions: dict = {}
        self.wifi_ms, self.refusals = 300, 0
        self.bites_us: int | None = None  # when the watchdog bites, if it was started
        try:
            with open("config.json") as file:
                settings = json.load(file)
        except (OSError, ValueError):
            settings = {}
        self.refusals = settings.get("virtual", {}).get("wifi_refusals", 0)
        self.wire(settings)

    def wire(self, settings: dict) -> None:
        """Connect the movements to their pins."""
        wiring = {"fuel": [18, 23], "tach": [19, 25], "temperature": [21, 26], "boost": [22, 27]}
        for motor in self.motors:
            pins = settings.get("needles", {}).get(motor.name, {}).get("pins", wiring[motor.name])
            if settings.get("movement", "quad") == "quad":
                self.by_step[pins[0]] = motor
                self.directions[motor.name] = pins[1]
            elif settings["movement"] == "direct":
                motor.pins = tuple(pins)
                for pin in pins:
                    self.by_coil[pin] = motor

    def alive(self) -> None:
        """See whether the watchdog has bitten by now: that is a reset."""
        if self.bites_us is not None and now_us() > self.bites_us:
            tell("watchdog")
            sys.exit(3)

    def set(self, pin: int, level: int) -> None:
        """Set an output."""
        self.levels[pin] = level
        motor = self.by_coil.get(pin)
        if motor:
            motor.coils(self.levels)

    def pulses(self, pin: int, waits: list, begin_us: int) -> None:
        """Turn the movement whose step input this pin is."""
        motor = self.by_step.get(pin)
        if motor is None:
            tell("fault", f"pulses on pin {pin}, where nothing is wired")
            return
        way = 1 if self.levels.get(self.directions[motor.name]) else -1
        motor.move(way, len(waits))
        tell_at(begin_us, "pulses", motor.name, way, motor.at, ",".join([str(wait) for wait in waits]))


board = Hardware()
