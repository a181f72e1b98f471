"""One connection to a broker, from CONNECT to its end; the next one is a new object with nothing left over.

paho's own loop wakes every second and uses select(), which fails above 1,024 open files; so the
socket is watched here. The client is touched by one thread at a time, which the link sees to.
"""

from __future__ import annotations

import functools
import logging
import selectors
import socket
import ssl
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from claude_gauge.contract.usage import OFFLINE
from claude_gauge.mqtt import trouble
from claude_gauge.mqtt.endpoint import FIVE, Endpoint
from claude_gauge.mqtt.message import Handler, Message
from claude_gauge.mqtt.sender import UNACKED_LIMIT
from claude_gauge.mqtt.websocket import Websocket
from claude_gauge.system.net import Wake

CONNECT_S = 5.0
KEEPALIVE_S = 11  # a frozen publisher's will comes after 1.5 times this, and Mosquitto looks every 5 s: 22 s at most
LOOK_S = 3.0  # how often the keepalive is looked after
FAILED = 0x80  # reason codes from here on are refusals
PUBLISH, RETAIN = 0x30, 0x01  # in a packet's first byte
NO_RETAINED = 2  # MQTT 5: a subscription to what comes from now on
LARGEST_PACKET = 128 * 1024  # what we take: six times Home Assistant's discovery, the largest thing that we read
LOST = ("reason", "connection lost")  # the will's user property: a goodbye has none

Ready = dict[Any, int]  # which sockets may be read or written
Answered = Callable[[int, str | None], None]  # a request's id, and why the broker refused it, if it did


@dataclass(frozen=True, slots=True)
class Identity:
    """Client id, user and last will, the same for all connections.

    `status` is the topic of the last will, which says `offline`, or clears the topic where we leave nothing behind.
    """

    client_id: str
    status: str | None = None
    leaves_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a broker takes: some keep no retained messages or know no QoS 1, and refuse a will that asks for it.

    Some (mochi) take a will without a payload, which clears a topic, for a protocol error.
    """

    qos: int = 1
    retain: bool = True
    empty_will: bool = True

    def without(self, reason: str) -> Abilities:
        """Return what is left after the broker refused the connection for this reason."""
        if reason == "QoS not supported":
            return replace(self, qos=0)
        if reason == "Retain not supported":
            return replace(self, retain=False)
        return replace(self, empty_will=False) if reason == "Protocol error" else self

    def announced(self, properties: Properties | None) -> Abilities:
        """Return what is left by what the broker says as it accepts the connection."""
        return replace(
            self,
            qos=min(self.qos, getattr(properties, "MaximumQoS", 1)),
            retain=self.retain and bool(getattr(properties, "RetainAvailable", 1)),
        )


class _Complaints(logging.Handler):
    """Keeps paho's last error; without a callback of its own paho does not write out each packet in words."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        self.last = record.getMessage()


@functools.cache
def _expiring(seconds: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = seconds
    return properties


@dataclass(frozen=True, slots=True)
class Large:
    """A message over our limit that is being received since then (steady clock), in bytes; its payload is not kept."""

    topic: str
    size: int
    retained: bool
    since: float


class BoundedClient(mqtt.Client):
    """Reads packets over the size limit without keeping their payload.

    MQTT 5 brokers know our limit and send no such packet; 3.1.1 has no word for it, and paho would keep all of it.
    The head is kept, so that the message is acknowledged: it would else hold up those behind it.
    """

    cut = False  # the packet that is being read, or was read last, is not whole
    large: Large | None = None  # that packet, where it is a message

    def _sock_recv(self, bufsize: int) -> bytes:
        """Read what is there, at most so many bytes."""
        packet = self._in_packet
        self.cut = packet["to_process"] + len(packet["packet"]) > LARGEST_PACKET or (
            self.cut and packet["command"] != 0
        )
        self.large = (self.large or self._begins(packet)) if self.cut else None
        del packet["packet"][LARGEST_PACKET:]
        return super()._sock_recv(min(bufsize, LARGEST_PACKET))

    @property
    def reads(self) -> bool:
        """Whether a packet has begun that is not read to its end."""
        return bool(self._in_packet["command"])

    def _begins(self, packet: Any) -> Large | None:  # noqa: ANN401 - paho's own
        """Return what is known of a message once its topic has been read."""
        command, body = packet["command"], packet["packet"]
        end = 2 + int.from_bytes(body[:2], "big")
        if command & 0xF0 != PUBLISH or len(body) < end:
            return None
        topic = body[2:end].decode("utf-8", "replace")
        return Large(topic, packet["remaining_length"], bool(command & RETAIN), time.monotonic())

    def _create_socket(self) -> Any:  # noqa: ANN401 - a socket, or what paho wraps one in
        sock = super()._create_socket()
        return Websocket(sock) if isinstance(sock, mqtt._WebsocketWrapper) else sock  # noqa: SLF001 - as its name says


class Connection:
    """One paho client: `open`, then `turn` while `alive`, then `close` or `drop`; one thread at a time, but for `wait`.

    `received` and `answered` are called within `serve`; an answer is a PUBACK or a SUBACK.
    """

    def __init__(  # noqa: PLR0913 - the broker, the identity, how to connect, and the callbacks
        self,
        endpoint: Endpoint,
        identity: Identity,
        version: MQTTProtocolVersion,
        received: Handler,
        answered: Answered,
        *,
        abilities: Abilities = Abilities(),
    ) -> None:
        self.version, self.abilities = version, abilities
        self.accepted = False
        self.refused: ReasonCode | None = None
        self.mute = False  # never said anything
        self.ended_by_broker = False  # at something that we asked for, as far as it said
        self.forbidden = False  # it said that this was something that is not allowed
        self.why = trouble.FINE
        self.largest_packet: int | None = None
        self.unacked_limit = UNACKED_LIMIT
        self.wildcards = True  # in subscriptions
        self.passed: list[Large] = []  # messages over our limit that were read past; whoever reports them clears it
        self._endpoint = endpoint
        self._received, self._answered = received, answered
        self._complaints, self._password = _Complaints(), False
        self._selector: selectors.BaseSelector | None = None
        self._watched = 0
        self._client = self._make(identity)

    def _make(self, identity: Identity) -> BoundedClient:
        """Make a client that never connects again by itself."""
        path = self._endpoint.websocket_path
        client = BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=identity.client_id,
            protocol=self.version,
            transport="tcp" if path is None else "websockets",
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        logger = logging.Logger("paho", logging.ERROR)  # noqa: LOG001 - this client's own, known to nobody else
        logger.addHandler(self._complaints)
        client.enable_logger(logger)
        if path is not None:
            client.ws_set_options(path)
        if identity.status is not None:
            reason = None
            if self.version == FIVE:
                reason = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
                reason.UserProperty = LOST
            will = b"" if identity.leaves_nothing and self.abilities.empty_will else OFFLINE.encode()
            client.will_set(identity.status, will, self.abilities.qos, self.abilities.retain, reason)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message = self._on_message
        client.on_publish, client.on_subscribe = self._on_publish, self._on_subscribe
        return client

    @property
    def alive(self) -> bool:
        """Whether the socket is open."""
        return self._selector is not None and self._client.socket() is not None

    @property
    def acknowledges(self) -> bool:
        """Whether the broker says so when it refuses a message: MQTT 5, QoS 1."""
        return self.version == FIVE and self.abilities.qos > 0

    @property
    def large(self) -> Large | None:
        """The message over our limit that is being received, if one is."""
        return self._client.large if self._client.reads else None

    @property
    def clogged(self) -> bool:
        """Whether the network has not yet taken all that was sent."""
        return self._client.want_write()

    def open(self, wake: Wake, password: str | None, context: ssl.SSLContext | None) -> None:
        """Connect the socket and send CONNECT; raises what the network raises."""
        self._password = password is not None
        if self._endpoint.user is not None:
            self._client.username_pw_set(self._endpoint.user, password)
        if context is not None:
            self._client.tls_set_context(context)
        properties = None
        if self.version == FIVE:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = LARGEST_PACKET
        self._client.connect(self._endpoint.host, self._endpoint.port, keepalive=KEEPALIVE_S, properties=properties)
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake.reader, selectors.EVENT_READ)

    def turn(self, timeout_s: float) -> bool:
        """Wait for the network or a wake-up and do what there is to do; True at a wake-up."""
        self.watch()
        return self.serve(self.wait(timeout_s))

    def watch(self) -> None:
        """Have `wait` end when there is something to read, or room for what could not be written yet."""
        sock = self._client.socket()
        if self._selector is None or sock is None:
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.clogged else 0)
        if not self._watched:
            self._selector.register(sock, wanted)
        elif self._watched != wanted:
            self._selector.modify(sock, wanted)
        self._watched = wanted

    def wait(self, timeout_s: float) -> Ready:
        """Wait for the network or a wake-up. It touches nothing else, so that another thread may send meanwhile."""
        if self._selector is None or not self.alive:
            return {}
        look_s = min(timeout_s, LOOK_S, self._client.keepalive / 2)  # the broker may have set its own
        return {key.fileobj: mask for key, mask in self._selector.select(look_s)}

    def serve(self, ready: Ready) -> bool:
        """Read and write what `wait` found; True at a wake-up."""
        sock = self._client.socket()
        if sock is not None:
            if ready.get(sock, 0) & selectors.EVENT_READ:
                self._read(sock)
            if ready.get(sock, 0) & selectors.EVENT_WRITE:
                self._client.loop_write()
            self._client.loop_misc()
        return any(each is not sock for each in ready)

    def _read(self, sock: Any) -> None:  # noqa: ANN401 - a socket, or what paho wraps one in
        """Read one packet, and all that TLS holds decrypted: the kernel does not report those."""
        self._client.loop_read()
        while self._client.socket() is not None and hasattr(sock, "pending") and sock.pending():
            self._client.loop_read()

    def publish(self, message: Message) -> int | None:
        """Send a message; return the id under which it is answered, None where it is not."""
        properties = None
        if self.version == FIVE and message.expiry_s is not None:
            properties = _expiring(message.expiry_s)
        qos = min(message.qos, self.abilities.qos)
        retain = message.retain and self.abilities.retain
        mid = self._client.publish(message.topic, message.payload, qos, retain, properties).mid
        return mid if qos else None

    def subscribe(self, topic_filter: str, qos: int, *, foreign: bool = False) -> int | None:
        """Subscribe; `foreign`: only to what others say from now on, as far as the version allows."""
        if self.version == FIVE:
            no_local = foreign and self.acknowledges  # else what comes back shows that our messages are taken
            options = SubscribeOptions(qos=qos, noLocal=no_local, retainHandling=NO_RETAINED if foreign else 0)
            return self._client.subscribe(topic_filter, options=options)[1]
        return self._client.subscribe(topic_filter, qos)[1]

    def close(self) -> None:
        """Send DISCONNECT if possible, so that the will is not sent, and close the socket."""
        if self.accepted and self.alive:
            self._client.disconnect()
            deadline = time.monotonic() + 0.2
            while self.alive and time.monotonic() < deadline:
                self.turn(0.05)
        self.drop()

    def drop(self, why: trouble.Reason = trouble.FINE) -> None:
        """Close the socket without DISCONNECT, so that the broker sends the will."""
        self._ended(why)
        sock = self._client.socket()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if sock is not None:
            sock.close()

    def _ended(self, why: trouble.Reason) -> None:
        self.why = self.why if self.why.what else why

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
            other = getattr(properties, "ServerReference", "")
            user = self._endpoint.user
            self._ended(trouble.refusal(str(reason), user, with_password=self._password, other=other))
            return
        self.accepted = True
        self.largest_packet = getattr(properties, "MaximumPacketSize", None)
        self.unacked_limit = min(UNACKED_LIMIT, getattr(properties, "ReceiveMaximum", UNACKED_LIMIT))
        self.wildcards = bool(getattr(properties, "WildcardSubscriptionAvailable", 1))
        self.abilities = self.abilities.announced(properties)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _user: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.ended_by_broker = str(reason) not in trouble.NOT_AT_A_REQUEST
            self.forbidden = str(reason) == trouble.NOT_ALLOWED
            self._ended(trouble.farewell(str(reason), getattr(properties, "ServerReference", "")))
        elif "ssl" in self._complaints.last.lower():
            self._ended(trouble.handshake(self._complaints.last, over=True))
        elif str(reason) == "Keep alive timeout":
            self._ended(trouble.SILENT)
        elif self.accepted and str(reason) == "Protocol error":
            self._ended(trouble.GARBLED)
        else:
            self.mute = not (self.accepted or self.refused)
            self.ended_by_broker = True
            unheard = trouble.CLOSED_AFTER_TLS if self._endpoint.tls else trouble.CLOSED_UNHEARD
            self._ended(unheard if self.mute else trouble.CLOSED)

    def _on_message(self, _client: mqtt.Client, _user: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if self._client.cut:
            self.passed += [self._client.large] if self._client.large else []
            return
        lost = LOST in getattr(message.properties, "UserProperty", ())
        self._received(Message(topic, bytes(message.payload), message.qos, message.retain, lost=lost))

    def _on_publish(
        self, _client: mqtt.Client, _user: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        self._answered(mid, str(reason) if reason.value >= FAILED else None)

    def _on_subscribe(
        self, _client: mqtt.Client, _user: object, mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        self._answered(mid, next((str(reason) for reason in reasons if reason.value >= FAILED), None))


def close_sockets(error: BaseException) -> None:
    """Close what paho left open when a handshake failed: the socket is known to the traceback alone.

    One that could not even be made, for want of a descriptor, is there as well and can't be closed.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()):
            if isinstance(value, socket.socket) and value.fileno() >= 0:
                value.close()
