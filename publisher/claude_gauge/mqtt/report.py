"""What the log says about the broker: once per change of state, never a secret."""

from __future__ import annotations

import logging

from claude_gauge.mqtt.outbox import Message

log = logging.getLogger(__name__)


class Report:
    """Says each thing once until it changes; `trouble` is why the broker is away, or an empty string."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._refused: set[str] = set()
        self._rival = False
        self.trouble = ""

    def connected(self, version: str) -> None:
        """Say that the broker let us in."""
        self.trouble = ""
        log.info("connected to broker %s (%s)", self._place, version)

    def away(self, why: str) -> None:
        """Say why the broker can't be used at present."""
        trouble = f"broker {self._place} {why}"
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("%s; trying again", trouble)

    def refused(self, message: Message, why: str) -> None:
        """Say that the broker does not take this message, others it does."""
        if message.topic not in self._refused:
            self._refused.add(message.topic)
            log.warning("broker %s does not take %s: %s", self._place, message.topic, why)

    def taken(self, message: Message) -> None:
        """Note that the broker took this message."""
        self._refused.discard(message.topic)

    def rival(self, topic: str, *, there: bool) -> None:
        """Say that another publisher writes to our topics, or no longer does."""
        if there and not self._rival:
            log.warning("another publisher writes to our topics %s: give one of the two another --node", topic)
        elif self._rival and not there:
            log.info("the other publisher on %s is gone", topic)
        self._rival = there
