"""Which MQTT version to try: 5 first, 3.1.1 where a broker does not speak it; and when to try again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from paho.mqtt.enums import MQTTProtocolVersion

FIVE, THREE = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
NAMES = {FIVE: "MQTT 5", THREE: "MQTT 3.1.1"}
SURE = 2  # a broker may close one connection without a word for other reasons


@dataclass
class Versions:
    """Remembers which version this broker speaks."""

    doubts: int = 0
    next: MQTTProtocolVersion = FIVE
    proven: bool = False

    @property
    def in_doubt(self) -> bool:
        """Whether the next attempt may meet a broker that does not understand it."""
        return self.next == FIVE and not self.proven

    def spoken(self, version: MQTTProtocolVersion) -> None:
        """Note that the broker accepted this version."""
        if version == FIVE:
            self.doubts, self.proven = 0, True
        self.next = THREE if self.doubts >= SURE else FIVE

    def refused(self, version: MQTTProtocolVersion, *, plainly: bool) -> bool:
        """Note that it did not, in plain words or by saying nothing; True when 3.1.1 is worth trying at once."""
        if version == THREE or (self.proven and not plainly):
            self.doubts, self.next = 0, FIVE
            return False
        self.doubts = SURE if plainly else self.doubts + 1
        self.next = THREE
        return True


@dataclass
class Backoff:
    """Waits longer after each failure, never for longer than `most_s`, and never in step with other clients."""

    first_s: float = 0.25
    most_s: float = 4.0  # so that a broker that is back has fresh values within 5 s
    refused_most_s: float = 30.0  # a wrong password is mended by a person: no hurry
    _step: int = field(default=0, init=False)
    _random: random.Random = field(default_factory=random.Random, init=False)

    def wait_s(self, *, refused: bool) -> float:
        """Return how long to wait before the next attempt."""
        most = self.refused_most_s if refused else self.most_s
        longest = min(most, self.first_s * 2.0**self._step)
        self._step = min(self._step + 1, 16)
        return longest * self._random.uniform(0.5, 1)

    def reset(self) -> None:
        """Begin anew after a connection that held."""
        self._step = 0
