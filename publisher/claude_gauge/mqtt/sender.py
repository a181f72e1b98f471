"""Sends what is due as fast as the network takes it, and finds out which message or subscription the broker refuses.

A broker refuses a message or a subscription in one of three ways: with a code (MQTT 5), in silence (3.1.1),
or by ending the connection. In the last case it does not say at what. So requests that were unanswered when a
broker ended the connection are suspects, or the one that it had just refused. On the next connection they come
last and one at a time, the smallest message first, subscriptions after all messages. One at which the connection
ends three times, alone, is left out, and the log says so once; all others go on. Once is enough where the broker
says that something is not allowed: by a code before the end or, for a subscription, in its DISCONNECT. A network that
fails, or a broker that restarts, three times in a row looks the same: so a message is tried again after a minute, each
time after twice as long, up to an hour. A subscription waits for a new connection, too, since readers can do without.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from claude_gauge.mqtt.guard import Guard
from claude_gauge.mqtt.message import Listeners, Message, Subscription, filter_fault, has_wildcards, topic_fault
from claude_gauge.mqtt.trouble import Reason, Report, not_taken

UNACKED_LIMIT = 16  # a slow broker gets the newest value later, not every value between
ONCE_LIMIT = 256


class Outbox:
    """Keeps the newest value of each topic, and which of them this connection has still to send."""

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
        """Return when the oldest unacknowledged message was sent; `now` when there is none."""
        with self._lock:
            return next((at for _, at in self._unacked.values()), now)

    def empty(self) -> bool:
        """Return whether everything is sent and acknowledged."""
        with self._lock:
            return not (self._due or self._once or self._unacked)


QUICK_S = 3.0  # a broker that ends the connection at a request does it at once
CERTAIN = 3
HELD_BACK_S, LONGEST_HELD_S = 60.0, 3600.0
ID_IN_USE = "Packet identifier in use"
MOST_ASKED_AGAIN = 16  # on one connection
WITHOUT = "we go on without"


class Wire(Protocol):
    """What is needed of a `Connection`."""

    largest_packet: int | None
    unacked_limit: int
    wildcards: bool

    @property
    def acknowledges(self) -> bool:
        """Whether the broker says so when it refuses a message: MQTT 5, QoS 1."""

    @property
    def alive(self) -> bool:
        """Whether the socket is open."""

    @property
    def clogged(self) -> bool:
        """Whether the network has not yet taken all that was sent."""

    def publish(self, message: Message) -> int | None:
        """Send a message; return the id under which it is answered, None where it is not."""

    def subscribe(self, topic_filter: str, qos: int, *, foreign: bool = False) -> int | None:
        """Subscribe; returns as `publish` does."""


class Held(NamedTuple):
    """Requests of this size or more are left out until a time of the steady clock, for so many seconds in all."""

    size: int
    until: float
    seconds: float
    why: str = ""  # else the broker closes the connection at it


@dataclass(frozen=True, slots=True, order=True)
class Pending:
    """Something that a broker may end the connection at; they sort as suspects are tried."""

    subscribes: bool
    size: int
    name: str

    @property
    def key(self) -> tuple[bool, str]:
        """What stays the same when a topic gets another value."""
        return self.subscribes, self.name


class Quarantine:
    """Finds the request at which a broker ends the connection, and leaves it out for a while."""

    def __init__(self) -> None:
        self._suspects: set[tuple[bool, str]] = set()
        self._times: dict[tuple[bool, str], int] = {}
        self._held: dict[tuple[bool, str], Held] = {}

    def ended(self, unanswered: list[tuple[Pending, float]], now: float, *, certain: bool = False) -> bool:
        """Take the requests, and when they were sent, that a broker left unanswered as it ended the connection.

        `certain`: it said that it did so at something that is not allowed, and not for a reason of its own. Return
        whether we know more than before: that can happen a limited number of times.
        """
        if not unanswered or now - max(at for _, at in unanswered) > QUICK_S:
            return False
        before = len(self._suspects)
        self._suspects |= {request.key for request, _ in unanswered}
        if len(unanswered) > 1:
            return len(self._suspects) > before
        alone = unanswered[0][0]
        self._times[alone.key] = self._times.get(alone.key, 0) + 1
        if certain or alone.key in self._held or self._times[alone.key] >= CERTAIN:
            self.hold(alone, now)
        return True

    def hold(self, request: Pending, now: float, why: str = "") -> None:
        """Leave a request out from now on, twice as long as the last time."""
        held = self._held.get(request.key)
        seconds = min(2 * held.seconds, LONGEST_HELD_S) if held else HELD_BACK_S
        self._held[request.key] = Held(request.size, now + seconds, seconds, why)
        self._suspects.discard(request.key)
        self._times.pop(request.key, None)

    def why(self, request: Pending) -> str:
        """Return why a request is left out; "" where the broker closes the connection at it."""
        return self._held[request.key].why

    def answered(self, request: Pending) -> None:
        """Note that the broker answered this request: it is no suspect."""
        self._suspects.discard(request.key)
        self._times.pop(request.key, None)
        held = self._held.get(request.key)
        if held is not None and request.size >= held.size:
            del self._held[request.key]

    def suspects(self, request: Pending, now: float) -> bool:
        """Return whether a request has to be tried alone; one that was left out has, when its time is over."""
        return request.key in self._suspects or (self._convicted(request) and not self.holds(request, now))

    def holds(self, request: Pending, now: float) -> bool:
        """Return whether a request is left out; a smaller value than the one that ended connections is not."""
        return self._convicted(request) and now < self._held[request.key].until

    def _convicted(self, request: Pending) -> bool:
        held = self._held.get(request.key)
        return held is not None and request.size >= held.size

    def take_due(self, now: float) -> list[str]:
        """Return the topics whose value was left out for long enough; each once."""
        due = [key for key, held in self._held.items() if not key[0] and -math.inf < held.until <= now]
        for key in due:
            self._held[key] = self._held[key]._replace(until=-math.inf)
        return [name for _, name in due]


class Sender:
    """Works on the link's thread; outbox and listeners are filled by others."""

    def __init__(self, outbox: Outbox, listeners: Listeners, report: Report, guard: Guard | None) -> None:
        self._outbox, self._listeners, self._report, self._guard = outbox, listeners, report, guard
        self._quarantine = Quarantine()
        self._unanswered: dict[int, tuple[Pending, float]] = {}
        self._refused: list[tuple[Pending, float]] = []  # on this connection
        self._asked_again = 0

    @property
    def settled(self) -> bool:
        """Whether all that was asked of the broker is answered or left out."""
        return not (self._unanswered or self._listeners.due) and self._outbox.empty()

    def connected(self, connection: Wire) -> None:
        """Begin a new connection: everything is due again, for the broker may have lost it all."""
        self._unanswered.clear()
        self._refused.clear()
        self._asked_again = 0
        if self._guard:
            self._guard.echoes.connected()
        self._listeners.connected()
        self._outbox.connected(connection.unacked_limit)

    def send(self, connection: Wire, now: float) -> None:
        """Send until nothing is due, or the network takes no more: values, then subscriptions, then suspects."""
        if self._guard:
            for topic in self._guard.repairs.take(now):
                self._outbox.again(topic)
            self._report.rival(self._guard.filter, there=self._guard.rival(now))
            for topic in self._guard.echoes.missing(now):
                self._report.refused((True, topic), _undelivered(topic))
        suspects = self._send_values(connection, now)
        for each in self._listeners.due:
            if connection.alive and not self._quarantine.suspects(_subscribes(each), now):
                self._subscribe(connection, each, now)
        while connection.alive and not connection.clogged and (message := self._outbox.take_once()):
            self._publish(connection, message, now)
        if not self._unanswered:
            self._try_alone(connection, suspects, now)

    def _send_values(self, connection: Wire, now: float) -> list[Message]:
        """Send the values that are due; return those that have to be tried alone."""
        for topic in self._quarantine.take_due(now):
            self._outbox.again(topic)
        suspects: list[Message] = []
        while connection.alive and not connection.clogged and (message := self._outbox.take_value()):
            if self._quarantine.suspects(_publishes(message), now):
                suspects.append(message)
            else:
                self._publish(connection, message, now)
        for message in suspects:
            self._outbox.again(message.topic)
        return suspects

    def _try_alone(self, connection: Wire, suspects: list[Message], now: float) -> None:
        """Send one suspect, now that nothing else is on its way."""
        if suspects:
            message = min(suspects, key=_publishes)
            self._outbox.taken(message.topic)
            self._publish(connection, message, now)
        elif due := self._listeners.due:
            self._subscribe(connection, due[0], now)

    def _publish(self, connection: Wire, message: Message, now: float) -> None:
        why = self._why_not(connection, message, now)
        if why.what:
            self._report.refused(_publishes(message).key, why)
            return
        if self._guard:
            self._guard.said(message.topic, message.payload)
            if not connection.acknowledges:
                self._guard.echoes.said(message.topic, now)
        mid = connection.publish(message)
        if mid is None:
            self._report.taken(_publishes(message).key)
        else:
            self._outbox.sent(mid, message, now)
            self._unanswered[mid] = _publishes(message), now

    def _why_not(self, connection: Wire, message: Message, now: float) -> Reason:
        topic = message.topic
        if fault := topic_fault(topic):
            return Reason(f"was not given {topic!r}: {fault}", "correct the name")
        if connection.largest_packet is not None and message.size > connection.largest_packet:
            what = f"does not take {topic}: it takes {connection.largest_packet} bytes at most"
            return Reason(what, "raise its limit of a packet's size")
        if self._quarantine.holds(_publishes(message), now):
            what = f"does not take {topic}: it closes the connection at {message.size} bytes there"
            return Reason(what, "check its ACL and its limit of a message's size")
        return Reason("")

    def _subscribe(self, connection: Wire, each: Subscription, now: float) -> None:
        self._listeners.asked(each)
        if fault := filter_fault(each.topic_filter):
            self._report.refused(_subscribes(each).key, Reason(f"was not asked for {each.topic_filter!r}: {fault}"))
        elif not connection.wildcards and has_wildcards(each.topic_filter):
            what = f"does not let us read {each.topic_filter}: it takes no + and # in subscriptions"
            self._report.refused(_subscribes(each).key, Reason(what, f"{WITHOUT} it; take another broker"))
        elif self._quarantine.holds(_subscribes(each), now):
            reason = Reason(
                f"closes the connection where we ask for {each.topic_filter}", f"{WITHOUT} it; check its ACL"
            )
            if why := self._quarantine.why(_subscribes(each)):
                reason = Reason(why, f"{WITHOUT} {each.topic_filter}; clear that topic")
            self._report.refused(_subscribes(each).key, reason)
        else:
            mid = connection.subscribe(each.topic_filter, each.qos, foreign=each.foreign)
            if mid is not None:
                self._unanswered[mid] = _subscribes(each), now

    def answered(self, mid: int, refused: str | None) -> None:
        """Note what the broker said to a message or to a subscription."""
        request, at = self._unanswered.pop(mid, (None, 0.0))
        self._outbox.acked(mid)
        if request is None:
            return
        if refused == ID_IN_USE and request.subscribes and self._asked_again < MOST_ASKED_AGAIN:
            self._asked_again += 1
            self._listeners.again(request.name)  # mochi: by a message that is on its way to us
        elif refused is None:
            self._quarantine.answered(request)
            if self._guard and request.subscribes:
                self._guard.echoes.granted(request.name)
            if not (request.subscribes and self._is_undelivered(request.name)):
                self._report.taken(request.key)
        else:
            self._refused = [*(each for each in self._refused if each[0].key != request.key), (request, at)]
            verb = "does not let us read" if request.subscribes else "does not take"
            self._report.refused(request.key, not_taken(f"{verb} {request.name}", refused))

    def delivered(self, topic: str) -> None:
        """Note that something came on one of our own topics."""
        if self._guard:
            self._guard.echoes.delivered(topic)
            if self._is_undelivered(topic):
                self._report.taken((True, topic))

    def _is_undelivered(self, topic: str) -> bool:
        return self._report.refusal((True, topic)) == _undelivered(topic).by(self._report.place)

    def flooded(self, topic: str, why: str, now: float) -> None:
        """Leave out what subscribes to a topic, on the next connection."""
        for each in self._listeners.of(topic):
            self._quarantine.hold(_subscribes(each), now, why)

    def ended(self, *, by_broker: bool, now: float, forbidden: bool = False) -> bool:
        """Note that the connection is over, and whether the broker ended it at something that is `forbidden`.

        Return whether the next connection is for finding out at what.
        """
        unanswered = list(self._unanswered.values())
        self._unanswered.clear()
        if not by_broker:
            return False
        refused = [(request, at) for request, at in self._refused if now - at <= QUICK_S]
        # Of messages it could be another one, of QoS 0, which nobody answers: those are not held back so soon.
        certain = bool(refused) or (forbidden and all(request.subscribes for request, _ in unanswered))
        return self._quarantine.ended(refused[-1:] or unanswered, now, certain=certain)


def _undelivered(topic: str) -> Reason:
    return Reason(
        f"does not deliver what we write to {topic}", "this user may not write it, or may not read it: check its ACL"
    )


def _publishes(message: Message) -> Pending:
    return Pending(subscribes=False, size=message.size, name=message.topic)


def _subscribes(each: Subscription) -> Pending:
    return Pending(subscribes=True, size=0, name=each.topic_filter)
