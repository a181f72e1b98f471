"""A needle's motion, the same on screen as on the device, and when a payload is sent so that it looks smooth."""

from __future__ import annotations

from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES, STEPS, SWEEP_DEGREES, TOP_SPEED, step, wait_us
from claude_gauge.contract.usage import HEARTBEAT_S, Usage

LEAST_GAP_S = 0.1
_NOT_SEEN = frozenset({"updated_at"})


class Pace:
    """Decides when a payload is sent: at once after a visible change, ten a second at most, else as a heartbeat.

    All times are seconds of one steady clock.
    """

    def __init__(self) -> None:
        self._sent: Usage | None = None
        self._sent_at = 0.0

    def wants(self, usage: Usage, now: float) -> bool:
        """Return whether this payload should be sent now."""
        if self._sent is None:
            return True
        passed = now - self._sent_at
        return passed >= HEARTBEAT_S or (passed >= LEAST_GAP_S and _visible(self._sent, usage))

    def sent(self, usage: Usage, now: float) -> None:
        """Note what was sent."""
        self._sent, self._sent_at = usage, now

    def gap(self, now: float) -> float:
        """Return the seconds until anything may be sent again."""
        return 0.0 if self._sent is None else max(0.0, self._sent_at + LEAST_GAP_S - now)

    def wait(self, usage: Usage, now: float) -> float:
        """Return the seconds until this payload, if nothing else changes, has to be sent."""
        if self._sent is None:
            return 0.0
        least = LEAST_GAP_S if _visible(self._sent, usage) else HEARTBEAT_S
        return max(0.0, self._sent_at + least - now)


def _visible(old: Usage, new: Usage) -> bool:
    return any(value != getattr(new, name) for name, value in old.__dict__.items() if name not in _NOT_SEEN)


class Needle:
    """One needle in steps from the movement's stop; time is an argument, in microseconds."""

    def __init__(self) -> None:
        self.at = 0
        self.target = 0
        self._way = 1
        self._speed = 0
        self._owed_us = 0.0

    def point(self, share: float | None) -> None:
        """Set the target, as a share of the scale; None is the stop."""
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
        """Make the steps that fit into the time that went by; return whether it still moves."""
        self._owed_us += elapsed_us
        while self._owed_us > 0:
            took = self.step()
            if took is None:
                self._owed_us = 0
                return False
            self._owed_us -= took
        return True
