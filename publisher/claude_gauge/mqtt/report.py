"""What the log says about the broker: once per change of state, never a secret."""

from __future__ import annotations

import logging

from claude_gauge.mqtt.outbox import Message

log = logging.getLogger(__name__)


class Report:
    """Says each thing once until it changes."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._away = ""
        self._refused: dict[str, str] = {}
        self._rival = ""

    @property
    def trouble(self) -> str:
        """Why the broker is away or does not take something, or that we are not alone; else an empty string."""
        return self._away or next(iter(self._refused.values()), "") or self._rival

    def connected(self, version: str) -> None:
        """Say that the broker let us in."""
        self._away = ""
        log.info("connected to broker %s (%s)", self._place, version)

    def away(self, why: str) -> None:
        """Say why the broker can't be used at present."""
        trouble = f"broker {self._place} {why}"
        if trouble != self._away:
            self._away = trouble
            log.warning("%s; trying again", trouble)

    def refused(self, message: Message, why: str) -> None:
        """Say that the broker does not take this message, others it does."""
        if message.topic not in self._refused:
            said = f"broker {self._place} does not take {message.topic}: {why}"
            self._refused[message.topic] = said
            log.warning("%s", said)

    def taken(self, message: Message) -> None:
        """Note that the broker took this message."""
        self._refused.pop(message.topic, None)

    def rival(self, topic: str, *, there: bool) -> None:
        """Say that another publisher writes to our topics, or no longer does."""
        if there and not self._rival:
            self._rival = f"another publisher writes to our topics {topic}: give one of the two another --node"
            log.warning("%s", self._rival)
        elif self._rival and not there:
            self._rival = ""
            log.info("the other publisher on %s is gone", topic)
