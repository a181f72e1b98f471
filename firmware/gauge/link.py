"""The link to the broker: reconnects without end and never blocks the needles; uses `wifi` and `names`."""

import asyncio
import gc
import hashlib
import random

from gauge import packets, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONNECT_S = 10
LONGEST_PAUSE_S = 60
LONGEST_NAME = 23
HELP_MS = 180_000  # a broker that was never reached since set-up may be a typing error: the page opens again
STEADY_MS = 10_000  # a session that lasted so long has proved the broker good: the next pause is short again
TROUBLE = (OSError, ValueError, EOFError, MemoryError, asyncio.TimeoutError)


def client_id(identity: str) -> str:
    """Name a board to the broker: some refuse more than 23 letters, and no two boards may share a name."""
    name = "gauge-" + identity
    return name if len(name) <= LONGEST_NAME else "gauge-" + hashlib.sha256(identity.encode()).digest().hex()[:17]


class Link:
    """Keeps one session with the broker; hands what arrives to `receive(topic, payload, retained)`.

    `wifi` has `join(beat)` and `help(beat)`, `names` finds the broker; `known` notes that set-up was right.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self, settings: "dict[str, Any]", wifi: "Any", *, names: "Any", clock: "Any", known: "Any", receive: "Any"
    ) -> None:
        self.identity = settings["id"]
        self.root = "claude-gauge/device/" + self.identity
        self.linked = False
        self.sessions = 0
        self.beat_ms = 0  # when the link last showed that it lives
        self.topics = ["claude-gauge/{}/{}".format(settings["node"], leaf) for leaf in ("usage", "status")]
        self.limit = packets.LIMIT
        self._broker = settings["broker"]
        self._keepalive_s = settings["keepalive_s"]
        self._wifi, self._names, self._clock, self._known, self._receive = wifi, names, clock, known, receive
        self._tls: Any = None
        self._writer: Any = None
        self._last_id = 0

    async def run(self) -> None:
        """Connect, listen, and begin again whenever that ends."""
        pause_s = 1
        since_ms = self._beat()
        while True:
            began_ms = self._beat()
            try:
                await self._session()
            except TROUBLE as error:
                print("link:", words.cause(error))
                if not self.linked:
                    self._names.doubt(self._broker["host"])
            if self.linked or self._known.get("reached", False):
                since_ms = self._beat()
            elif self._beat() - since_ms > HELP_MS:
                await self._wifi.help(self._beat)
                since_ms = self._beat()
            self.linked = False
            self._writer = None
            gc.collect()
            if self._clock.ms() - began_ms > STEADY_MS:
                pause_s = 1
            await self._wait(pause_s * (500 + random.getrandbits(9)) // 1000 + 0.2)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def publish(self, leaf: str, payload: bytes, *, retain: bool = True) -> bool:
        """Send to a topic below our own; what can't be sent now is dropped."""
        return self.send(self.root + "/" + leaf, payload, retain=retain)

    def send(self, topic: str, payload: bytes, *, retain: bool = True) -> bool:
        """Send to any topic; what can't be sent now is dropped."""
        return self._write(packets.publish(topic, payload, retain=retain))

    def subscribe(self, topic: str, limit: int = packets.LIMIT) -> None:
        """Subscribe to one more topic, now and in every later session; packets up to `limit` are kept."""
        if topic not in self.topics:
            self.topics.append(topic)
        self.limit = max(self.limit, limit)
        self._write(packets.subscribe(self._id(), [topic]))

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic."""
        if topic in self.topics:
            self.topics.remove(topic)
        self.limit = packets.LIMIT
        self._write(packets.unsubscribe(self._id(), topic))

    def _write(self, packet: bytes) -> bool:
        if not self.linked:
            return False
        try:
            self._writer.write(packet)  # MicroPython sends at once what it can
        except TROUBLE:
            return False  # the session finds the same, and ends
        return True

    def _id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    def _beat(self) -> int:
        self.beat_ms = self._clock.ms()
        return self.beat_ms

    async def _wait(self, seconds: float) -> None:
        end_ms = self._beat() + int(seconds * 1000)
        while self._beat() < end_ms:
            await asyncio.sleep(0.1)

    async def _session(self) -> None:
        await self._wifi.join(self._beat)
        broker = self._broker
        secure = {"ssl": self._context(), "server_hostname": broker["host"]} if broker["ca"] else {}
        address = await self._names.find(broker["host"])
        self._beat()
        opening = asyncio.open_connection(address, broker["port"], **secure)
        streams: Any = await asyncio.wait_for(opening, CONNECT_S)
        reader, self._writer = streams
        try:
            await self._talk(reader, self._writer)
        finally:
            try:
                self._writer.close()
                await asyncio.wait_for(self._writer.wait_closed(), 1)
            except TROUBLE:
                pass  # it is gone already, which is what we want

    async def _talk(self, reader: "Any", writer: "Any") -> None:
        broker = self._broker
        will = (self.root + "/status", "offline")
        name = client_id(self.identity)
        writer.write(packets.connect(name, self._keepalive_s, will, broker["user"], broker["password"]))
        decoder = packets.Packets(self.limit)
        sent_ms = heard_ms = self._beat()
        while True:
            await asyncio.wait_for(writer.drain(), CONNECT_S)
            try:
                data = await asyncio.wait_for(reader.read(512), 1)
            except asyncio.TimeoutError:
                data = None
            now_ms = self._beat()
            if data == b"":
                raise OSError("the broker closed the connection")
            if data:
                heard_ms = now_ms
                decoder.limit = self.limit
                for first, body, whole in decoder.feed(data):
                    self._handle(first, body, whole)
            silent_ms = now_ms - heard_ms
            if silent_ms > 1500 * self._keepalive_s or (not self.linked and silent_ms > 1000 * CONNECT_S):
                raise OSError("the broker is silent")
            if self.linked and now_ms - sent_ms > 500 * self._keepalive_s:
                sent_ms = now_ms
                writer.write(packets.PING)

    def _handle(self, first: int, body: bytes, whole: bool) -> None:
        kind = first >> 4
        if kind == packets.PUBLISH:
            message = packets.message(first, body, whole=whole)
            if message.packet_id:
                self._writer.write(packets.puback(message.packet_id))
            if message.payload is None:
                print("link: dropped a message that is too big")
            else:
                self._receive(message.topic, message.payload, message.retained)
        elif kind == packets.CONNACK:
            if body[1]:
                raise OSError(f"the broker refuses us: code {body[1]}, {words.refusal(body[1])}")
            self._writer.write(packets.subscribe(self._id(), self.topics))
        elif kind == packets.SUBACK:
            if 0x80 in body[2:]:
                print("link: the broker refuses a subscription: does our user lack the right to read?")
            if not self.linked:
                self.linked = True
                self.sessions += 1
                print("link: connected to", self._broker["host"])
                self._names.good(self._broker["host"])
                self._known.keep("reached", True)
                self.publish("status", b"online")

    def _context(self) -> "Any":
        if self._tls is None:
            with open(self._broker["ca"], "rb") as file:
                authority = file.read()
            try:
                import tls
            except ImportError:  # CPython
                import ssl

                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                self._tls.load_verify_locations(cadata=authority)
            else:
                self._tls = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
                self._tls.verify_mode = tls.CERT_REQUIRED
                self._tls.load_verify_locations(authority)
        return self._tls
