"""Hands what is due to the network, as much as it takes, and minds what the broker says to it."""

from __future__ import annotations

from claude_gauge.mqtt.connection import Connection
from claude_gauge.mqtt.guard import Guard
from claude_gauge.mqtt.outbox import Message, Outbox
from claude_gauge.mqtt.report import Report
from claude_gauge.mqtt.suspects import OversizeGuard


class Sender:
    """Works on the link's thread; the outbox is filled by others."""

    def __init__(self, outbox: Outbox, report: Report, guard: Guard | None) -> None:
        self._outbox, self._report, self._guard = outbox, report, guard
        self._suspects = OversizeGuard()

    def send(self, connection: Connection, now: float) -> None:
        """Send until nothing is due, or the network takes no more."""
        if self._guard:
            for topic in self._guard.repairs.take(now):
                self._outbox.again(topic)
            self._report.rival(self._guard.filter, there=self._guard.rival(now))
        while connection.alive and not connection.clogged and (message := self._outbox.take()):
            why = self._why_not(connection, message, now)
            if why:
                self._report.refused(message, why)
                continue
            if self._guard:
                self._guard.said(message.topic, message.payload)
            mid = connection.publish(message)
            if message.qos:
                self._outbox.sent(mid, message, now)

    def _why_not(self, connection: Connection, message: Message, now: float) -> str:
        if connection.largest_packet is not None and message.size > connection.largest_packet:
            return f"it takes {connection.largest_packet} bytes at most"
        if self._suspects.holds(message, now):
            return f"it closes the connection at {message.size} bytes"
        return ""

    def acked(self, mid: int, refusal: str | None) -> None:
        """Note what the broker said to a message."""
        message = self._outbox.acked(mid)
        if message is not None and refusal is None:
            self._report.taken(message)
        elif message is not None:
            self._report.refused(message, f"{refusal}; check its ACL")

    def ended(self, lasted_s: float, now: float) -> None:
        """Note how long the connection held with what was on its way."""
        self._suspects.ended(self._outbox.unacked(), lasted_s, now)
