"""The link to the broker: a thread that connects, keeps the newest values there, and never gives up."""

from __future__ import annotations

import secrets
import threading
import time

from claude_gauge.config import Settings
from claude_gauge.contract.usage import OFFLINE, ONLINE
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt import endpoint as endpoints
from claude_gauge.mqtt import trouble
from claude_gauge.mqtt.client import Identity, close_sockets
from claude_gauge.mqtt.connection import LOOK_S, Connection
from claude_gauge.mqtt.guard import Guard
from claude_gauge.mqtt.listeners import Handler, Listeners
from claude_gauge.mqtt.outbox import Message, Outbox
from claude_gauge.mqtt.report import Report
from claude_gauge.mqtt.sender import Sender
from claude_gauge.mqtt.tls import Trust
from claude_gauge.mqtt.versions import NAMES, Backoff, Versions
from claude_gauge.mqtt.wake import Wake

CONNACK_S = 10.0
DOUBT_S = 4.0  # some brokers just fall silent at MQTT 5
ACK_S = 10.0  # a broker that acknowledges nothing for so long is not there
HELD_S = 5.0  # a connection that held so long was a good one
GOODBYE_S = 1.0


class Link:
    """Keeps announced values on the broker and hands messages to listeners, through every outage.

    `status` is the topic that says `online` while this link lives and `offline` after (None for a mere
    reader). Every method may be called from any thread; handlers run on the link's own thread.
    """

    def __init__(self, settings: Settings, *, status: str | None, url: str | None = None) -> None:
        self.endpoint = endpoints.parse(url or endpoints.url_of(settings))
        self._settings = settings
        self._trust = Trust(settings) if self.endpoint.tls else None
        self._secrets()
        self._status = status
        self._identity = Identity(f"gauge-{secrets.token_hex(8)}", status)  # 22 letters: any broker takes 23
        self._outbox = Outbox()
        self._guard = Guard(status) if status else None
        self._report = Report(self.endpoint.place)
        self._sender = Sender(self._outbox, self._report, self._guard)
        self._versions, self._backoff = Versions(), Backoff()
        self._listeners = Listeners()
        self._news = threading.Condition()
        self._connection: Connection | None = None
        self._stopping = False
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        if status:
            self._outbox.put(Message(status, ONLINE.encode()))

    def start(self) -> None:
        """Begin to connect; returns at once, whether the broker is there or not."""
        self._thread.start()

    def stop(self) -> None:
        """Say `offline`, wait for it to arrive (not for ever), disconnect; safe to call twice."""
        if self._status and not self._stopping:
            self._outbox.put(Message(self._status, OFFLINE.encode()))
        self._stopping = True
        self._wake()
        if self._thread.ident is None:
            self._wake.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(GOODBYE_S + 0.4)

    def announce(self, topic: str, payload: bytes, *, expiry_s: int | None = None) -> None:
        """Make this the retained value of a topic: now, and again after each reconnect until a newer one comes."""
        self._outbox.put(Message(topic, payload, expiry_s=expiry_s))
        if self.connected:
            self._wake()

    def send(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Send a message once; False, and nothing sent, while there is no connection."""
        if not self.connected:
            return False
        self._outbox.put_once(Message(topic, payload, qos, retain))
        self._wake()
        return True

    def listen(self, topic_filter: str, handler: Handler, *, qos: int = 1) -> None:
        """Call the handler with (topic, payload, retained) for each message, through every reconnect."""
        self._listeners.add(topic_filter, handler, qos)
        self._wake()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and is there."""
        return self._connection is not None

    @property
    def trouble(self) -> str:
        """Why the broker is away, or does not take what it should; an empty string when all is well."""
        return self._report.trouble

    @property
    def rival(self) -> bool:
        """Whether another publisher writes to our topics."""
        return self._guard is not None and self._guard.rival(time.monotonic())

    @property
    def version(self) -> str:
        """The MQTT version of the present connection, or an empty string."""
        connection = self._connection
        return NAMES[connection.version] if connection else ""

    def wait_connected(self, seconds: float) -> bool:
        """Wait until connected; False when that took too long."""
        with self._news:
            return self._news.wait_for(lambda: self.connected, seconds)

    def flush(self, seconds: float) -> bool:
        """Wait until the broker has acknowledged all that was announced; False when that took too long."""
        with self._news:
            return self._news.wait_for(lambda: self.connected and self._outbox.empty(), seconds)

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
            plainly = str(connection.refused) == "Unsupported protocol version"
            if (plainly or connection.mute) and self._versions.refused(connection.version, plainly=plainly):
                continue
            self._report.away(connection.why)
            self._wake.rest(self._backoff.wait_s(refused=connection.refused is not None), lambda: self._stopping)
        self._wake.close()

    def _live(self) -> Connection:
        """Live one connection from its beginning to its end."""
        began = time.monotonic()
        connection = Connection(self.endpoint, self._identity, self._versions.next, self._heard, self._sender.acked)
        try:
            connection.open(self._wake, self._secrets(), self._trust.context() if self._trust else None)
            if self._accepted(connection, began + (DOUBT_S if self._versions.in_doubt else CONNACK_S)):
                self._greet(connection)
                self._keep(connection)
        except GaugeError as error:
            connection.drop(f"can't be asked: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a broker or a library does, the daemon tries again
            connection.drop(trouble.failure(error, self.endpoint))
            close_sockets(error)
        finally:
            connection.close() if self._stopping else connection.drop()
            self._set(None)
        now = time.monotonic()
        if connection.accepted:
            self._sender.ended(now - began, now)
        if connection.accepted and now - began > HELD_S:
            self._backoff.reset()
        return connection

    def _accepted(self, connection: Connection, deadline: float) -> bool:
        """Wait for the broker's answer to CONNECT."""
        while connection.alive and not connection.accepted and not self._stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                connection.mute = True
                connection.drop("does not answer")
            elif connection.turn(left):
                self._wake.drain()
        return connection.accepted and connection.alive

    def _greet(self, connection: Connection) -> None:
        """Subscribe to everything and have everything published again: the broker may have lost it all."""
        self._versions.spoken(connection.version)
        self._listeners.connected()
        self._outbox.connected(connection.unacked_limit)
        if self._guard:
            connection.subscribe(self._guard.filter, 1, foreign=True)
        self._report.connected(NAMES[connection.version])
        self._set(connection)

    def _keep(self, connection: Connection) -> None:
        """Send and receive until the connection ends, or everything is said after `stop`."""
        goodbye: float | None = None
        while connection.alive:
            now = time.monotonic()
            self._listeners.subscribe(connection)
            self._sender.send(connection, now)
            self._tell_if_empty()
            if self._stopping:
                goodbye = goodbye or now + GOODBYE_S
                if self._outbox.empty() or now > goodbye:
                    return
            if now - self._outbox.waits_since(now) > ACK_S:
                connection.drop("acknowledges nothing")
                return
            look = now + LOOK_S
            due = min(self._guard.repairs.next(look) if self._guard else look, goodbye or look)
            if connection.turn(max(0.0, due - now)):
                self._wake.drain()

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the connection's signature
        if self._guard and not retained and not self._stopping:
            self._guard.hear(topic, payload, time.monotonic())
        self._listeners.hear(topic, payload, retained=retained)

    def _tell_if_empty(self) -> None:
        if self._outbox.empty():
            with self._news:
                self._news.notify_all()

    def _set(self, connection: Connection | None) -> None:
        with self._news:
            self._connection = connection
            self._news.notify_all()
