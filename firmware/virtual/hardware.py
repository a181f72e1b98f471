"""A cluster without a soldering iron: the chip's pins, and the movements and lamps that are wired to them.

`machine`, `esp32`, `network` and `neopixel` beside this file have the names of MicroPython's own; the firmware's files
run over them unchanged. What happens at the pins is written to the standard output, a line each, beginning with @ :

    @pulses TIME NEEDLE WAY POSITION WAIT,WAIT,...   step pulses that start now; the position is after the last one
    @step TIME NEEDLE WAY POSITION                   one full step of a directly driven movement
    @duty TIME PIN DUTY                              a duty cycle of 0..65535
    @turn TIME NEEDLE POSITION                       where a voltmeter or servo stands by its duty cycle
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
# Pins that MicroPython knows on each chip, inputs only among them, RMT transmitters, channels for duty cycles: from its
# ports/esp32/machine_pin.h and ESP-IDF's soc_caps.h, and not from the firmware's own map.
CHIPS = {
    "ESP32": (list(range(24)) + [25, 26, 27] + list(range(32, 40)), range(34, 40), 8, 16),
    "ESP32-S2": (list(range(19)) + [21, 26] + list(range(33, 47)), (46,), 4, 8),
    "ESP32-S3": (list(range(19)) + [21, 26] + list(range(33, 49)), (), 4, 8),
    "ESP32-C3": (list(range(14)) + [20, 21], (), 2, 6),
    "ESP32-C6": (list(range(12)) + list(range(14, 31)), (), 2, 6),
}
REST, SCALE = 20 * 12, 270 * 12
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
        self.outputs: set = set()
        self.motors = [Motor(name, at) for name, at in zip(NEEDLES, START)]
        self.by_step: dict = {}
        self.by_coil: dict = {}
        self.directions: dict = {}
        self.by_duty: dict = {}
        self.reset_pin = -1
        self.playing: dict = {}  # by direction pin: until when pulses go by it
        self.wifi_ms = 300
        self.bites_us: int | None = None  # when the watchdog bites, if it was started
        try:
            with open("config.json") as file:
                settings = json.load(file)
        except (OSError, ValueError):
            settings = {}
        if not isinstance(settings, dict):
            settings = {}
        virtual = settings.get("virtual", {})
        self.refusals = virtual.get("wifi_refusals", 0)
        self.why = virtual.get("wifi_why", 201)
        self.known: dict | None = virtual.get("wifi_known")  # passwords by network; None: any will do
        self.version = tuple(virtual.get("micropython", (1, 25)))
        self.chip = virtual.get("chip") or _soldered() or settings.get("chip") or "ESP32"
        self.pins, self.inputs, self.transmitters, self.duties = CHIPS[self.chip]
        self.wire(settings)

    def wire(self, settings: dict) -> None:
        """Connect the movements to their pins."""
        movement = settings.get("movement", "quad")
        try:
            from gauge import chips
        except ImportError:
            return  # a board that has MicroPython and nothing else
        own = chips.wiring(self.chip, movement)
        if movement == "quad":
            self.reset_pin = settings.get("reset_pin", own["reset_pin"])
        for motor in self.motors:
            needle = settings.get("needles", {}).get(motor.name, {})
            pins = needle.get("pins", own["needles"][motor.name]["pins"])
            if movement == "quad":
                self.by_step[pins[0]] = motor
                self.directions[motor.name] = pins[1]
            elif movement == "direct":
                motor.pins = tuple(pins)
                for pin in pins:
                    self.by_coil[pin] = motor
            elif movement == "voltmeter":
                self.by_duty[pins[0]] = (motor, 0, 65535 * needle.get("full", 1.0))
            else:
                ends = [needle.get("low_us", 600), needle.get("high_us", 2400)]
                low, high = ends[::-1] if needle.get("reverse") else ends
                self.by_duty[pins[0]] = (motor, low / 20_000 * 65535, high / 20_000 * 65535)

    def output(self, pin: int) -> None:
        """See a pin become an output; a driver that is awake would take the jolt for a step."""
        if pin in self.outputs:
            return
        self.outputs.add(pin)
        inputs = list(self.by_step) + list(self.directions.values())
        if self.reset_pin >= 0 and pin in inputs and self.levels.get(self.reset_pin) != 0:
            tell("fault", f"pin {pin} is an output before RESET is low")

    def alive(self) -> None:
        """See whether the watchdog has bitten by now: that is a reset."""
        if self.bites_us is not None and now_us() > self.bites_us:
            tell("watchdog")
            sys.exit(3)

    def set(self, pin: int, level: int) -> None:
        """Set an output."""
        if self.levels.get(pin) != level and self.playing.get(pin, 0) > now_us():
            tell("fault", f"direction {pin} changes under way")
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
        direction = self.directions[motor.name]
        self.playing[direction] = begin_us + sum(waits)
        if self.reset_pin >= 0 and not self.levels.get(self.reset_pin):
            tell("fault", "pulses while RESET is low")
        way = 1 if self.levels.get(direction) else -1
        motor.move(way, len(waits))
        tell_at(begin_us, "pulses", motor.name, way, motor.at, ",".join([str(wait) for wait in waits]))

    def duty(self, pin: int, duty: int) -> None:
        """Move what a duty cycle moves."""
        if pin not in self.by_duty:
            return
        motor, low, high = self.by_duty[pin]
        position = REST + round(SCALE * (duty - low) / (high - low))
        if position != motor.at:
            motor.at = position
            tell("turn", motor.name, position)


def _soldered() -> str:
    # Which chip the test's board has, whatever its settings say.
    try:
        with open("/hw/chip.txt") as file:
            return file.read().strip()
    except OSError:
        return ""


board = Hardware()
