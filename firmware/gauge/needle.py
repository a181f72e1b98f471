"""One needle's motion: ramps, targets, segments. Pure: the caller moves the pins and waits.

Speeds are whole numbers: a speed of n needs n steps to come to rest, so it never exceeds the way left, and every
target is met exactly, whatever was asked before.
"""

from array import array

FULL_STEPS = 945  # an X27.168 turns 315 degrees in full steps of 1/3 degree
# Steps since rest and the microseconds per full step that the movement is known to follow up to there.
KNOWN_GOOD = ((20, 3000), (50, 1500), (100, 1000), (150, 800), (300, 600))
TOP_US = 1500
# Above 300 ms an interrupted RMT transmission can panic. A new target waits for the running segment, and a segment's
# pulses must find room in one piece of heap: both want it shorter still.
SEGMENT_US = 100_000


class Ramp:
    """The wait at each speed; `finer` steps make a full step (4 behind a microstepping driver)."""

    def __init__(self, finer: int = 1, top_us: int = TOP_US) -> None:
        self.finer = finer
        self.slow = KNOWN_GOOD[0][0] * finer  # up to this speed it may start and stop dead
        self.waits = array("H", [0])
        self.brakes = array("L", [0])  # microseconds from a speed down to a slow one
        for speed in range(1, KNOWN_GOOD[-1][0] * finer + 1):
            full_us = _full_step_us(speed / finer)
            if full_us < top_us:
                break
            self.brakes.append(0 if speed <= self.slow else self.brakes[-1] + self.waits[-1])
            self.waits.append(-(-full_us // finer))
        self.top = len(self.waits) - 1


def _full_step_us(steps: float) -> int:
    # Between the known-good points the speed, not the wait, rises evenly: nowhere quicker than the table.
    steps_before, us_before = 0, KNOWN_GOOD[0][1]
    for steps_here, us_here in KNOWN_GOOD:
        if steps <= steps_here:
            share = (steps - steps_before) / (steps_here - steps_before)
            return round(us_before * us_here / (us_here + share * (us_before - us_here)))
        steps_before, us_before = steps_here, us_here
    return us_before


class Needle:
    """Where a needle is and where it should be, in steps from its lower stop."""

    def __init__(self, ramp: Ramp, last: "int | None" = None) -> None:
        self.ramp = ramp
        self.last = last or FULL_STEPS * ramp.finer
        self.at = self.target = 0
        self.homing = False
        self._wish = 0
        self._way = 1
        self._speed = 0

    def home(self) -> None:
        """Drive against the lower stop over the full sweep: the only way to learn where the needle is.

        Slowly: it may stand there already, and then every step is a knock on its gears.
        """
        self.at, self.target, self._speed = self.last + 5 * self.ramp.finer, 0, 0
        self.homing = True

    def point(self, steps: int) -> None:
        """Set the target; it may change at any time, and one beyond an end is that end."""
        self._wish = min(self.last, max(0, steps))
        if not self.homing:
            self.target = self._wish

    def moving(self) -> bool:
        """Return whether steps are left to be made."""
        return self.homing or self.at != self.target or self._speed > 0

    def segment(self, limit_us: int = SEGMENT_US) -> "tuple[int, list] | None":
        """Move on by one segment: (direction, the wait after each step), or None at rest.

        It starts and ends slowly enough to stop dead: whoever plays it may be late for the next one (a collection
        of garbage, a blocking look-up of a name) and costs smoothness, never position.
        """
        if (self.target - self.at) * self._way <= 0 and self._speed <= self.ramp.slow:
            self._speed = 0
            if not self._turn():
                return None
        # Locals alone in this loop: it runs for every single step, and a chip's Python is slow.
        table, brakes, slow = self.ramp.waits, self.ramp.brakes, self.ramp.slow
        top = slow if self.homing else self.ramp.top
        way, speed, spent = self._way, self._speed, 0
        left = (self.target - self.at) * way
        waits: list = []
        while left > 0 or speed > slow:
            wanted = max(speed - 1, min(speed + 1, top, left))
            if wanted > slow:
                if not waits:
                    wanted = slow
                while wanted > slow and spent + table[wanted] + brakes[wanted] > limit_us:
                    wanted -= 1
            wait = table[wanted]
            if spent + wait > limit_us:
                break
            spent += wait
            speed = wanted
            left -= 1
            waits.append(wait)
        self.at += way * len(waits)
        self._speed = speed
        return way, waits

    def undo(self, way: int, steps: int) -> None:
        """Take back a segment that could not be played; the needle stands where it stood."""
        self.at -= way * steps
        self._speed = 0

    def _turn(self) -> bool:
        # Standing still: face the target, and return whether there is any way to go.
        if self.at == self.target and self.homing:
            self.homing = False
            self.target = self._wish
        if self.at == self.target:
            return False
        self._way = 1 if self.target > self.at else -1
        return True
