"""A client that tries what it may and may not do on a broker, one step at a time."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterable

from claude_gauge.mqtt.connection import Connection, Identity, close_sockets
from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.trouble import FINE, MUTE, Reason, failure
from claude_gauge.mqtt.versions import FIVE
from claude_gauge.mqtt.wake import Wake

STEP_S = 5.0


class Probe:
    """One connection, driven by whoever asks something of it."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._endpoint, self._context = endpoint, context
        self._acked: dict[int, str | None] = {}
        self._wake = Wake()
        identity = Identity(f"check-{secrets.token_hex(6)}")
        self._connection = Connection(endpoint, identity, FIVE, self._hear, self._acked.__setitem__)

    def enter(self, password: str | None) -> Reason:
        """Connect; returns why that failed, `FINE` where it did not."""
        try:
            self._connection.open(self._wake, password, self._context)
        except (OSError, ValueError) as error:
            close_sockets(error)
            return failure(error, self._endpoint)
        until([self], lambda: self._connection.accepted or not self.inside)
        return FINE if self._connection.accepted else self._connection.why if self._connection.why.what else MUTE

    @property
    def inside(self) -> bool:
        """Whether the connection is there."""
        return self._connection.alive

    @property
    def refused(self) -> bool:
        """Whether the broker said no to who we are."""
        return self._connection.refused is not None

    def subscribe(self, *filters: str) -> None:
        """Ask for topics; a broker may agree and still deliver nothing."""
        for topic_filter in filters:
            self._connection.subscribe(topic_filter, 1)

    def write(self, topic: str, payload: bytes) -> None:
        """Publish, and wait until the broker has dealt with it: taken, refused, or thrown us out."""
        mid = self._connection.publish(Message(topic, payload, retain=False))
        until([self], lambda: mid in self._acked or not self.inside)

    def turn(self) -> None:
        """Look at the network for a moment."""
        self._connection.turn(0.01)

    def leave(self) -> None:
        """Disconnect."""
        self._connection.close()
        self._wake.close()

    def _hear(self, message: Message) -> None:
        self.heard.append((message.topic, message.payload))


def until(probes: Iterable[Probe], done: Callable[[], bool], seconds: float = STEP_S) -> bool:
    """Let probes listen until something is so; False when it never was."""
    listening = list(probes)
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        for probe in listening:
            probe.turn()
    return True
