"""What turns a share of the scale into something that moves: one class per kind of movement, one interface.

`point(share)` says where to (None: rest), `poll(now_ms)` makes the moves that are due and returns at once, `moving()`
says whether there are any, `home()` finds the stop where a movement needs that.
"""

from gauge.needle import FULL_STEPS, Needle, Ramp
from gauge.scale import Dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MICROSTEPS = 4  # of a full step, in an AX1201728SG, X12.017 or VID6606
# The six states of the two coils. The middle pins always agree: three outputs do.
COILS = ((1, 0, 1), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))
SAFE_US = 3000  # per full step: quick enough to see, slow enough to start and stop dead, however late Python is


class Quad:
    """An X27.168 behind a step and direction driver, its pulses played by the chip's RMT, not by Python."""

    def __init__(self, pulses: "Any", direction: "Any", dial: Dial, *, reverse: bool = False) -> None:
        self.needle = Needle(Ramp(MICROSTEPS))
        self._pulses = pulses
        self._direction = direction
        self._dial = dial
        self._up = 0 if reverse else 1

    def point(self, share: "float | None") -> None:
        """Set the target."""
        self.needle.point(self._dial.steps(share, self.needle.last))

    def home(self) -> None:
        """Find the stop."""
        self.needle.home()

    def moving(self) -> bool:
        """Return whether moves are left, or still being played."""
        return self.needle.moving() or self._pulses.busy()

    def poll(self, _now_ms: int) -> None:
        """Play the next segment once the one before is over: to write sooner would block."""
        if self._pulses.busy():
            return
        segment = self.needle.segment()
        if segment:
            way, waits = segment
            self._direction(self._up if way > 0 else 1 - self._up)
            try:
                self._pulses.play(waits)
            except MemoryError:
                self.needle.undo(way, len(waits))
                raise


class Direct:
    """An X27.168 on three or four outputs, one full step at a time at a speed that forgives lateness."""

    def __init__(self, pins: list, dial: Dial, clock: "Any", *, reverse: bool = False) -> None:
        self.needle = Needle(Ramp(1, SAFE_US), FULL_STEPS)
        self._pins = pins if len(pins) == 3 else [pins[0], (pins[1], pins[2]), pins[3]]
        self._dial = dial
        self._up = -1 if reverse else 1
        self._state = 0
        self._clock = clock
        self._due_ms = 0

    def point(self, share: "float | None") -> None:
        """Set the target."""
        self.needle.point(self._dial.steps(share, self.needle.last))

    def home(self) -> None:
        """Find the stop."""
        self.needle.home()

    def moving(self) -> bool:
        """Return whether steps are left."""
        return self.needle.moving()

    def poll(self, _now_ms: int) -> None:
        """Make the step that is due; one that is late puts off all that follow.

        It looks at the clock itself, after the step: what held the step up must not shorten the wait for the next.
        """
        if self._clock.ms() < self._due_ms:
            return
        segment = self.needle.segment(SAFE_US)
        if not segment:
            return
        self._state = (self._state + segment[0] * self._up) % len(COILS)
        for pins, level in zip(self._pins, COILS[self._state]):
            for pin in pins if isinstance(pins, tuple) else (pins,):
                pin(level)
        self._due_ms = self._clock.ms() + SAFE_US // 1000 + 1  # whole milliseconds: the last one may be almost over


class Glide:
    """A needle that follows a duty cycle: a voltmeter or a hobby servo; it glides rather than jumps."""

    def __init__(self, pwm: "Any", low: float, high: float, dial: Dial, sweep_ms: int) -> None:
        self._pwm = pwm
        self._low, self._high = low, high  # duty, 0..1, at either end of the scale
        self._dial = dial
        self._sweep_ms = sweep_ms
        self.at = self.target = 0.0
        self._then_ms: int | None = None
        self._duty = -1
        self._write()

    def point(self, share: "float | None") -> None:
        """Set the target."""
        self.target = self._dial.correct(share or 0.0)

    def home(self) -> None:
        """Nothing to find: the duty cycle is the position."""

    def moving(self) -> bool:
        """Return whether it still glides."""
        return self.at != self.target

    def poll(self, now_ms: int) -> None:
        """Go as far as the time since the last call allows."""
        if self._then_ms is not None and self.at != self.target:
            reach = (now_ms - self._then_ms) / self._sweep_ms
            self.at += max(-reach, min(reach, self.target - self.at))
            if abs(self.at - self.target) < 1e-4:
                self.at = self.target
            self._write()
        self._then_ms = now_ms

    def _write(self) -> None:
        duty = round((self._low + (self._high - self._low) * self.at) * 65535)
        if duty != self._duty:
            self._duty = duty
            self._pwm.duty_u16(duty)


def voltmeter(pwm: "Any", dial: Dial, full: float = 1.0) -> Glide:
    """Return a moving-coil voltmeter; `full` is the duty at the end of its scale."""
    return Glide(pwm, 0.0, full, dial, 400)


def servo(pwm: "Any", dial: Dial, low_us: int = 600, high_us: int = 2400) -> Glide:
    """Return a hobby servo on a 50 Hz signal; a servo that runs backwards has its low and high swapped."""
    return Glide(pwm, low_us / 20_000, high_us / 20_000, dial, 900)
