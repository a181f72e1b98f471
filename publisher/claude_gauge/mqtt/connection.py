"""One connection to a broker, from CONNECT to its end; the next one is a new object with nothing left over.

paho's own loop wakes every second and uses select(), which fails above 1,024 open files; so the
socket is watched here, and one thread alone touches the client.
"""

from __future__ import annotations

import selectors
import ssl
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import LogLevel, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from claude_gauge.mqtt import trouble
from claude_gauge.mqtt.client import Identity, make
from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.mqtt.outbox import UNACKED_LIMIT, Message
from claude_gauge.mqtt.versions import FIVE
from claude_gauge.mqtt.wake import Wake

KEEPALIVE_S = 11  # a frozen publisher's will comes after 1.5 times this, and Mosquitto looks every 5 s: 22 s at most
LOOK_S = 3.0  # how often the keepalive is looked after
FAILED = 0x80  # reason codes from here on are refusals
NO_RETAINED = 2  # MQTT 5: a subscription to what comes from now on


class Connection:
    """One paho client, driven by one thread: `open`, then `turn` while `alive`, then `close` or `drop`.

    `heard(topic, payload, retained)` and `acked(id, refusal or None)` are called within `turn`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Identity,
        version: MQTTProtocolVersion,
        heard: Callable[[str, bytes, bool], None],
        acked: Callable[[int, str | None], None],
    ) -> None:
        self.version = version
        self.accepted = False
        self.refused: ReasonCode | None = None
        self.mute = False  # never said anything
        self.why = ""
        self.largest_packet: int | None = None
        self.unacked_limit = UNACKED_LIMIT
        self._endpoint = endpoint
        self._heard, self._acked = heard, acked
        self._complaint = ""
        self._selector: selectors.BaseSelector | None = None
        self._watched = 0
        self._client = make(endpoint, identity, version)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_log = self._on_log

    @property
    def alive(self) -> bool:
        """Whether the socket is open."""
        return self._selector is not None and self._client.socket() is not None

    @property
    def clogged(self) -> bool:
        """Whether the network has not yet taken all that was sent."""
        return self._client.want_write()

    def open(self, wake: Wake, password: str | None, context: ssl.SSLContext | None) -> None:
        """Connect the socket and send CONNECT; raises what the network raises."""
        if self._endpoint.user is not None:
            self._client.username_pw_set(self._endpoint.user, password)
        if context is not None:
            self._client.tls_set_context(context)
        self._client.connect(self._endpoint.host, self._endpoint.port, keepalive=KEEPALIVE_S)
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake.reader, selectors.EVENT_READ)

    def turn(self, timeout_s: float) -> bool:
        """Wait for the network or a wake-up and do what there is to do; True at a wake-up."""
        sock = self._client.socket()
        if self._selector is None or sock is None:
            return False
        self._watch(self._selector, sock)
        events = {key.fileobj: mask for key, mask in self._selector.select(min(timeout_s, LOOK_S))}
        ready = events.pop(sock, 0)
        if ready & selectors.EVENT_READ:
            self._read(sock)
        if ready & selectors.EVENT_WRITE:
            self._client.loop_write()
        self._client.loop_misc()
        return bool(events)

    def _read(self, sock: Any) -> None:  # noqa: ANN401 - a socket, or what paho wraps one in
        """Read one packet, and all that TLS holds decrypted: the kernel would not tell of those."""
        self._client.loop_read()
        while self._client.socket() is not None and hasattr(sock, "pending") and sock.pending():
            self._client.loop_read()

    def _watch(self, selector: selectors.BaseSelector, sock: Any) -> None:  # noqa: ANN401 - as above
        """Ask the kernel about writing only while there is something to write."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.clogged else 0)
        if not self._watched:
            selector.register(sock, wanted)
        elif self._watched != wanted:
            selector.modify(sock, wanted)
        self._watched = wanted

    def publish(self, message: Message) -> int:
        """Send a message and return its id."""
        properties = None
        if self.version == FIVE and message.expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.expiry_s
        return self._client.publish(message.topic, message.payload, message.qos, message.retain, properties).mid

    def subscribe(self, topic_filter: str, qos: int, *, foreign: bool = False) -> None:
        """Subscribe; `foreign`: only to what others say from now on, as far as the version allows."""
        if self.version == FIVE:
            options = SubscribeOptions(qos=qos, noLocal=foreign, retainHandling=NO_RETAINED if foreign else 0)
            self._client.subscribe(topic_filter, options=options)
        else:
            self._client.subscribe(topic_filter, qos)

    def close(self) -> None:
        """Say goodbye where that is possible, so that the will is not sent, and close the socket."""
        if self.accepted and self.alive:
            self._client.disconnect()
            deadline = time.monotonic() + 0.2
            while self.alive and time.monotonic() < deadline:
                self.turn(0.05)
        self.drop()

    def drop(self, why: str = "") -> None:
        """Close the socket without a word."""
        self._ended(why)
        sock = self._client.socket()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if sock is not None:
            sock.close()

    def _ended(self, why: str) -> None:
        self.why = self.why or why

    def _on_connect(
        self,
        _client: mqtt.Client,
        _user: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.value >= FAILED:
            self.refused = reason
            self._ended(trouble.refusal(str(reason)))
            return
        self.accepted = True
        self.largest_packet = getattr(properties, "MaximumPacketSize", None)
        self.unacked_limit = min(UNACKED_LIMIT, getattr(properties, "ReceiveMaximum", UNACKED_LIMIT))

    def _on_disconnect(
        self, _client: mqtt.Client, _user: object, flags: DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._ended(trouble.refusal(str(reason)))
        elif "ssl" in self._complaint.lower():
            self._ended(trouble.handshake(self._complaint))
        elif str(reason) == "Keep alive timeout":
            self._ended("fell silent")
        else:
            self.mute = not (self.accepted or self.refused)
            self._ended(trouble.CLOSED)

    def _on_message(self, _client: mqtt.Client, _user: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._heard(topic, bytes(message.payload), message.retain)

    def _on_publish(
        self, _client: mqtt.Client, _user: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        self._acked(mid, str(reason) if reason.value >= FAILED else None)

    def _on_log(self, _client: mqtt.Client, _user: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = text
