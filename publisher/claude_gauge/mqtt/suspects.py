"""Messages that end the connection: a 3.1.1 broker can't say that one is too large, it just closes."""

from __future__ import annotations

from collections.abc import Sequence

from claude_gauge.mqtt.outbox import Message

QUICK_S = 3.0
CERTAIN = 3
HELD_BACK_S = 600.0


class OversizeGuard:
    """Holds back the largest message of connections that ended soon after it, for the others' sake."""

    def __init__(self) -> None:
        self._suspect, self._times = "", 0
        self._held: dict[str, tuple[int, float]] = {}

    def ended(self, unacked: Sequence[Message], lasted_s: float, now: float) -> None:
        """Note how a connection ended."""
        largest = max(unacked, key=lambda message: message.size, default=None)
        if largest is None or lasted_s > QUICK_S:
            self._suspect, self._times = "", 0
            return
        self._times = self._times + 1 if largest.topic == self._suspect else 1
        self._suspect = largest.topic
        if self._times >= CERTAIN:
            self._held[largest.topic] = largest.size, now + HELD_BACK_S
            self._suspect, self._times = "", 0

    def holds(self, message: Message, now: float) -> bool:
        """Tell whether a message is held back: it is as large as the one that ended connections."""
        size, until = self._held.get(message.topic, (0, 0.0))
        return now < until and message.size >= size
