"""The link to the broker: a thread that connects, keeps the newest values there, and never gives up.

The thread goes round these states; any of them may end at any moment by `stop` or by the network:

    connecting -> waiting for CONNACK -> connected (send, receive) -> away (logged once, a pause) -> connecting

* Whoever holds `_turn` may touch the connection and the sender. This thread lets go of it only to wait for the network.
  Another thread puts things into the outbox or among the listeners; while this one waits, it sends them itself, which
  saves waking a thread for each payload; else it wakes this one. It never waits for `_turn`: handlers run under it.
* Each connection starts from nothing: it says `online`, sends every topic's newest value again, then subscribes.
  The broker may have lost everything, and a reader that connects when we do must not see an old value.
* MQTT 5 is tried first. A broker that refuses it, or closes or is silent before CONNACK, is asked with 3.1.1 at once:
  for this connection, and for all later ones once it refused, or did so twice (`versions`). One that
  takes no QoS 1, keeps no retained messages or takes no wildcards in subscriptions is sent what it takes.
* A connection ends: by the broker at something that we asked for (`sender` finds out what), by the broker for its own
  reasons, by silence (no PINGRESP, no PUBACK), by the network, or by `stop`, which says `offline` first.
* A message over our limit (3.1.1 brokers do not know it) is read past, unless that takes LARGE_S: then the connection
  ends, and the next one goes without the subscriptions that bring it.
* A message that 3.1.1 or QoS 0 refuses is dropped in silence. There ours come back: what does not is logged (`guard`).
* The order on the wire: PUBACK and SUBACK come in any order and may never come; a retained message may come before
  its SUBACK; our own messages come back to us where noLocal is not there or not asked for (`guard` knows them).
"""

from __future__ import annotations

import math
import secrets
import ssl
import threading
import time
from collections.abc import Callable

from claude_gauge.config import Settings
from claude_gauge.contract.usage import OFFLINE, ONLINE
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt import endpoint as endpoints
from claude_gauge.mqtt.connection import LOOK_S, Abilities, Connection, Identity, close_sockets
from claude_gauge.mqtt.endpoint import NAMES, Backoff, Trust, Versions, names_of, speaks_tls
from claude_gauge.mqtt.guard import Guard
from claude_gauge.mqtt.message import Handler, Listeners, Message, Subscription
from claude_gauge.mqtt.sender import Outbox, Sender
from claude_gauge.mqtt.trouble import MUTE, NO_ACKS, PLAIN_AT_TLS, Reason, Report, certificate, failure
from claude_gauge.system.net import Wake

CONNACK_S = 10.0
DOUBT_S = 4.0  # some brokers just fall silent at MQTT 5
ACK_S = 10.0  # a broker that acknowledges nothing for so long is not there
HELD_S = 5.0  # a connection that held so long was a good one
GOODBYE_S = 1.0
LARGE_S = 5.0  # a message over our limit that takes longer is not waited for: all else waits behind it


class Link:
    """Keeps announced values on the broker and hands messages to listeners, through every outage.

    `status` is the topic that says `online` while this link lives and `offline` after (None for a mere
    reader). With `leaves_nothing` all that it announced is cleared at the end; `quiet`: its log is for debugging. Every
    method may be called from any thread; handlers run on the link's own thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        status: str | None,
        url: str | None = None,
        leaves_nothing: bool = False,
        quiet: bool = False,
    ) -> None:
        self.endpoint = endpoints.parse(url or endpoints.url_of(settings))
        self._settings = settings
        self._trust = Trust(settings) if self.endpoint.tls else None
        self._secrets()
        self._status = status
        self._leaves_nothing = leaves_nothing
        client_id = f"gauge-{secrets.token_hex(8)}"  # 22 letters: any broker takes 23
        self._identity = Identity(client_id, status, leaves_nothing)
        self._outbox = Outbox()
        self._guard = Guard(status) if status else None
        self._guarded: set[str] = set()
        self._report, self._listeners = Report(self.endpoint.place, quiet=quiet), Listeners()
        self._sender = Sender(self._outbox, self._listeners, self._report, self._guard)
        self._versions, self._backoff, self._abilities = Versions(), Backoff(), Abilities()
        self._news = threading.Condition()
        self._changes = 0  # how often there was news
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._fault: Exception | None = None  # of another thread that sent
        self._stopping = self._was_connected = False
        self._finds_out = False  # at which request the broker ends connections
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        if status:
            self._watch_over(status)
            self._outbox.put(Message(status, ONLINE.encode()))

    def start(self) -> None:
        """Begin to connect; returns at once, whether the broker is there or not."""
        self._thread.start()

    def stop(self) -> None:
        """Send `offline`, wait a limited time for its acknowledgement, disconnect; safe to call twice."""
        if not self._stopping:
            if self._status:
                self._outbox.put(Message(self._status, OFFLINE.encode()))
            for topic in self._outbox.topics() if self._leaves_nothing else []:
                self._outbox.put_once(Message(topic, b""))  # after `offline`: who reads now learns of the end at once
        self._stopping = True
        self._wake()
        if self._thread.ident is None:
            self._wake.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(GOODBYE_S + 0.4)

    def announce(self, topic: str, payload: bytes, *, expiry_s: int | None = None) -> None:
        """Make this the retained value of a topic: now, and again after each reconnect until a newer one comes."""
        self._watch_over(topic)
        self._outbox.put(Message(topic, payload, expiry_s=expiry_s))
        self._send_now()

    def _watch_over(self, topic: str) -> None:
        """Subscribe to what others say on one of our own topics; each by its name, for not every broker takes a +."""
        if self._guard and topic not in self._guarded and self._guard.covers(topic):
            self._guarded.add(topic)
            self._listeners.add(Subscription(topic, self._foreign, foreign=True))

    def send(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Send a message once; False, and nothing sent, while there is no connection."""
        if not self.connected:
            return False
        self._outbox.put_once(Message(topic, payload, qos, retain))
        self._send_now()
        return True

    def listen(self, topic_filter: str, handler: Handler, *, qos: int = 1) -> None:
        """Call the handler with each message, through every reconnect."""
        self._listeners.add(Subscription(topic_filter, handler, qos))
        self._wake()

    @property
    def left(self) -> list[str]:
        """What had to be cleared after `stop` and was not: the broker was away."""
        due = self._leaves_nothing and self._was_connected and not self._outbox.empty()
        return self._outbox.topics() if due else []

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and is there."""
        return self._connection is not None

    @property
    def trouble(self) -> str:
        """Why the broker is away, or does not take what it should, and what to do; empty when all is well."""
        return str(self._report.reason)

    @property
    def reason(self) -> Reason:
        """The same in two parts: what is wrong, and what to do."""
        return self._report.reason

    def refusal(self, topic: str) -> Reason:
        """Return why the broker refuses what is published to this topic; `FINE` as long as it did not."""
        return self._report.refusal((False, topic))

    def unreadable(self, topic_filter: str) -> Reason:
        """Return why the broker refuses a subscription to this filter; `FINE` as long as it did not."""
        return self._report.refusal((True, topic_filter))

    @property
    def rival(self) -> bool:
        """Whether another publisher writes to our topics."""
        return self._guard is not None and self._guard.rival(time.monotonic())

    @property
    def version(self) -> str:
        """The MQTT version of the present connection, or an empty string."""
        connection = self._connection
        return NAMES[connection.version] if connection else ""

    @property
    def acknowledges(self) -> bool:
        """Whether the present connection's broker says so when it refuses a message: MQTT 5, QoS 1."""
        connection = self._connection
        return connection is not None and connection.acknowledges

    @property
    def keeps_retained(self) -> bool:
        """Whether the broker keeps retained messages, as far as it said; some do not say."""
        return self._abilities.retain

    @property
    def largest_packet(self) -> int | None:
        """What the present connection's broker takes at most, in bytes; None where it did not say."""
        connection = self._connection
        return connection.largest_packet if connection else None

    def wait_connected(self, seconds: float) -> bool:
        """Wait until connected; False when that took too long."""
        with self._news:
            return self._news.wait_for(lambda: self.connected, seconds)

    def flush(self, seconds: float) -> bool:
        """Wait until the broker has acknowledged all that was announced; False when that took too long."""
        return self._until(self._outbox.empty, seconds)

    def wait_settled(self, seconds: float) -> bool:
        """Wait until the broker has answered every message and subscription, or it is known that it never will."""
        return self._until(lambda: self._sender.settled, seconds)

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until we are connected and `done`, which is asked while nobody sends or reads.

        In the middle of that a message may be taken and not sent yet, or answered and its refusal not noted yet: it
        would pass for done.
        """
        end = time.monotonic() + seconds
        while True:
            changes = self._changes
            if self._turn.acquire(timeout=max(0.0, end - time.monotonic())):
                try:
                    if self.connected and done():
                        return True
                finally:
                    self._turn.release()
            with self._news:
                while self._changes == changes:
                    if not self._news.wait(max(0.0, end - time.monotonic())):
                        return False
            if time.monotonic() >= end:
                return False

    def _changed(self) -> None:
        with self._news:
            self._changes += 1
            self._news.notify_all()

    def _secrets(self) -> str | None:
        """Read the password and the certificates, so that a bad file stops the start; return the password."""
        if self._trust:
            self._trust.context()
        return self._settings.password if self.endpoint.user else None

    def _run(self) -> None:
        while not self._stopping:
            connection = self._live()
            if self._stopping:
                break
            abilities, self._abilities = self._abilities, self._abilities.without(str(connection.refused))
            if abilities != self._abilities:
                continue
            plainly = str(connection.refused) == "Unsupported protocol version"
            if (plainly or connection.mute) and self._versions.refused(connection.version, plainly=plainly):
                continue
            self._report.away(self._looked_into(connection))
            backoff = self._backoff
            wait_s = backoff.soon_s() if self._finds_out else backoff.wait_s(refused=connection.refused is not None)
            self._wake.rest(wait_s, lambda: self._stopping)
        self._wake.close()

    def _looked_into(self, connection: Connection) -> Reason:
        """Return why a connection ended, more exactly where a look at the broker's TLS shows it."""
        talks_past_us = connection.mute or "websocket" in connection.why.what
        if self._trust is None and talks_past_us and speaks_tls(self.endpoint):
            return PLAIN_AT_TLS
        return connection.why

    def _live(self) -> Connection:
        """Live one connection from its beginning to its end."""
        began = time.monotonic()
        connection = Connection(
            self.endpoint,
            self._identity,
            self._versions.next,
            self._listeners.deliver,
            self._sender.answered,
            abilities=self._abilities,
        )
        try:
            connection.open(self._wake, self._secrets(), self._trust.context() if self._trust else None)
            if self._accepted(connection, began + (DOUBT_S if self._versions.in_doubt else CONNACK_S)):
                self._greet(connection)
                self._keep(connection)
        except GaugeError as error:
            connection.drop(Reason(f"can't be asked: {error}"))
        except ssl.SSLCertVerificationError as error:
            names = names_of(self.endpoint)
            connection.drop(certificate(error.verify_message, self.endpoint.host, names))
            close_sockets(error)
        except Exception as error:  # noqa: BLE001 - whatever a broker or a library does, the daemon tries again
            connection.drop(failure(error, self.endpoint))
            close_sockets(error)
        finally:
            self._set(None)  # from here on no other thread sends on it
            connection.close() if self._stopping else connection.drop()
        now = time.monotonic()
        self._finds_out = connection.accepted and self._sender.ended(
            by_broker=connection.ended_by_broker, now=now, forbidden=connection.forbidden
        )
        if connection.accepted and now - began > HELD_S:
            self._backoff.reset()
            self._report.held()
        return connection

    def _accepted(self, connection: Connection, deadline: float) -> bool:
        """Wait for the broker's answer to CONNECT."""
        while connection.alive and not connection.accepted and not self._stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                connection.mute = True
                connection.drop(MUTE)
            elif connection.turn(left):
                self._wake.drain()
        return connection.accepted and connection.alive

    def _greet(self, connection: Connection) -> None:
        """Have everything published and subscribed again: the broker may have lost it all."""
        self._versions.spoken(connection.version)
        self._abilities = connection.abilities
        self._sender.connected(connection)
        self._report.connected(NAMES[connection.version])
        self._report.keeps(retained=connection.abilities.retain)
        self._set(connection)

    def _send_now(self) -> None:
        """Send what is due in the caller's thread if the link's own is waiting, else have that one do it."""
        if self._turn.acquire(blocking=False):
            try:
                connection = self._connection
                if connection is None:
                    return  # it is sent when there is one
                if connection.alive:
                    self._send(connection)
                if connection.alive and not connection.clogged:
                    return
            except Exception as error:  # noqa: BLE001 - a library's fault is the link's trouble, not the caller's
                self._fault = error
            finally:
                self._turn.release()
        self._wake()

    def _send(self, connection: Connection) -> None:
        """Send what is due; only under `_turn`."""
        self._sender.send(connection, time.monotonic())
        if self._outbox.empty():
            self._changed()

    def _keep(self, connection: Connection) -> None:
        """Send and receive until the connection ends, or everything is said after `stop`."""
        goodbye = math.inf
        while True:
            with self._turn:
                if self._fault is not None:
                    raise self._fault
                self._send(connection)
                now = time.monotonic()
                if self._stopping:
                    goodbye = min(goodbye, now + GOODBYE_S)
                if not connection.alive or (self._stopping and self._outbox.empty()) or now > goodbye:
                    return
                self._skip_large(connection, now)
                if now - self._outbox.waits_since(now) > ACK_S:
                    connection.drop(NO_ACKS)
                if not connection.alive:
                    return
                connection.watch()
            look = now + LOOK_S
            due = min(self._guard.repairs.next(look) if self._guard else look, goodbye, look)
            ready = connection.wait(max(0.0, due - now))
            with self._turn:
                if connection.serve(ready):
                    self._wake.drain()

    def _skip_large(self, connection: Connection, now: float) -> None:
        """Report messages that are too large; one that comes slowly ends the connection, and stays out of the next."""
        large = connection.large
        for each in (*connection.passed, *([large] if large else [])):
            self._report.large(each.topic, each.size)
        connection.passed.clear()
        if large is not None and now - large.since > LARGE_S:
            why = f"takes too long to send {large.size:,} bytes on {large.topic!r}"
            if large.retained:  # else nobody sends it again
                self._sender.flooded(large.topic, why, now)
            connection.drop(Reason(why))

    def _foreign(self, message: Message) -> None:
        """Take what somebody else says on our own topics."""
        if message.retain:
            return
        self._sender.delivered(message.topic)
        if self._guard and not self._stopping:
            self._guard.take(message.topic, message.payload, time.monotonic())

    def _set(self, connection: Connection | None) -> None:
        with self._turn:
            self._connection = connection
            self._fault = None
        self._was_connected = self._was_connected or connection is not None
        self._changed()
