"""How a needle moves, the same on the screen as on the movement: never faster than it can stop."""

from __future__ import annotations

from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES, STEPS, SWEEP_DEGREES, TOP_SPEED, step, wait_us


class Needle:
    """One needle in steps from the movement's stop; time is an argument, in microseconds."""

    def __init__(self) -> None:
        self.at = 0
        self.target = 0
        self._way = 1
        self._speed = 0
        self._owed_us = 0.0

    def point(self, share: float | None) -> None:
        """Name the place on the scale where it should go; None is the stop."""
        self.target = step(share)

    @property
    def share(self) -> float:
        """Where it is just now, as a share of the scale; below 0 on its way to the stop."""
        return (self.at * SWEEP_DEGREES / STEPS - REST_DEGREES) / SCALE_DEGREES

    def step(self) -> int | None:
        """Move one step and return how long that takes, or None at rest.

        A speed of n needs n steps to stop, so it never exceeds the way left.
        """
        left = (self.target - self.at) * self._way
        self._speed = max(self._speed - 1, min(self._speed + 1, TOP_SPEED, left))
        if self._speed <= 0:
            self._speed = 0
            if self.at == self.target:
                return None
            self._way = 1 if self.target > self.at else -1
            self._speed = 1
        self.at += self._way
        return wait_us(self._speed)

    def advance(self, elapsed_us: float) -> bool:
        """Make the steps that fit into the time that went by; tell whether it still moves."""
        self._owed_us += elapsed_us
        while self._owed_us > 0:
            took = self.step()
            if took is None:
                self._owed_us = 0
                return False
            self._owed_us -= took
        return True
