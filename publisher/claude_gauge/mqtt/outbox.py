"""What is to be sent: of each topic the newest value only, and a few messages that are sent once."""

from __future__ import annotations

import threading
from collections import deque

from claude_gauge.mqtt.message import Message

UNACKED_LIMIT = 16  # a slow broker gets the newest value later, not every value between
ONCE_LIMIT = 256


class Outbox:
    """Keeps the newest value of each topic for ever, and knows what has still to go out on this connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, Message] = {}
        self._due: dict[str, None] = {}
        self._once: deque[Message] = deque(maxlen=ONCE_LIMIT)
        self._unacked: dict[int, tuple[Message, float]] = {}
        self._limit = UNACKED_LIMIT

    def put(self, message: Message) -> None:
        """Make this the newest value of its topic."""
        with self._lock:
            self._values[message.topic] = message
            self._due[message.topic] = None

    def put_once(self, message: Message) -> None:
        """Take a message that is sent once; of QoS 1 it survives the connection until the broker has taken it."""
        with self._lock:
            self._once.append(message)

    def topics(self) -> list[str]:
        """List the topics that have a value."""
        with self._lock:
            return list(self._values)

    def again(self, topic: str) -> None:
        """Send a topic's newest value once more."""
        with self._lock:
            if topic in self._values:
                self._due[topic] = None

    def connected(self, limit: int) -> None:
        """Begin a new connection: every value goes out again, in the order in which its topic first came."""
        with self._lock:
            self._limit = limit
            owed = [*(message for message, _ in self._unacked.values()), *self._once]
            self._unacked.clear()
            self._once = deque((each for each in owed if each.qos and not each.retain), maxlen=ONCE_LIMIT)
            self._due = dict.fromkeys(self._values)

    def take_value(self) -> Message | None:
        """Hand out the next topic's newest value; None when there is none, or too much is unacknowledged."""
        with self._lock:
            if not self._due or len(self._unacked) >= self._limit:
                return None
            topic = next(iter(self._due))
            del self._due[topic]
            return self._values[topic]

    def taken(self, topic: str) -> None:
        """Note that this topic's newest value goes out now."""
        with self._lock:
            self._due.pop(topic, None)

    def take_once(self) -> Message | None:
        """Hand out the next message that is sent once; None as above."""
        with self._lock:
            return self._once.popleft() if self._once and len(self._unacked) < self._limit else None

    def sent(self, mid: int, message: Message, now: float) -> None:
        """Note a message that waits for the broker's acknowledgement."""
        with self._lock:
            self._unacked[mid] = message, now

    def acked(self, mid: int) -> Message | None:
        """Note an acknowledgement, and return what was acknowledged."""
        with self._lock:
            message, _ = self._unacked.pop(mid, (None, 0.0))
            return message

    def waits_since(self, now: float) -> float:
        """Tell when the oldest unacknowledged message was sent; `now` when there is none."""
        with self._lock:
            return next((at for _, at in self._unacked.values()), now)

    def empty(self) -> bool:
        """Tell whether everything is sent and acknowledged."""
        with self._lock:
            return not (self._due or self._once or self._unacked)
