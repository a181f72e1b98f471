"""MQTT 3.1.1 packets as bytes and back. Pure: nothing here reads, writes or waits.

The peer is not trusted: what breaks the protocol raises ValueError (the link then starts again), what is too big for
the heap is counted out and thrown away while it streams in.
"""

CONNACK, PUBLISH, SUBACK = 2, 3, 9
PING = b"\xc0\x00"
LIMIT = 2048 + 256  # twice the contract's largest payload, and its topic; a packet over it is dropped
_HEAD = 256  # of a dropped packet so much is kept: topic and packet id, to acknowledge it


def connect(client: str, keepalive_s: int, will: tuple, user: str, password: str) -> bytes:
    """Ask for a clean session; `will` is (topic, payload), retained at QoS 1."""
    flags = 0x2E | (0x80 if user else 0) | (0x40 if user and password else 0)
    body = _text("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big")
    body += _text(client) + _text(will[0]) + _text(will[1])
    if user:
        body += _text(user) + (_text(password) if password else b"")
    return _packet(0x10, body)


def subscribe(packet_id: int, topics: list) -> bytes:
    """Ask for these topics at QoS 1."""
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"".join([_text(topic) + b"\x01" for topic in topics]))


def unsubscribe(packet_id: int, topic: str) -> bytes:
    """Ask for a topic no longer."""
    return _packet(0xA2, packet_id.to_bytes(2, "big") + _text(topic))


def publish(topic: str, payload: bytes, *, retain: bool) -> bytes:
    """Send a message at QoS 0: the next one is never far."""
    return _packet(0x31 if retain else 0x30, _text(topic) + payload)


def puback(packet_id: int) -> bytes:
    """Acknowledge a message of QoS 1."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


class Message:
    """One message that came in; `payload` is None where it was too big to keep."""

    def __init__(self, topic: bytes, payload: "bytes | None", packet_id: int, *, retained: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.packet_id = packet_id  # 0: needs no acknowledgement
        self.retained = retained


def message(first: int, body: bytes, *, whole: bool = True) -> Message:
    """Read a PUBLISH from its first byte and its body."""
    qos = first >> 1 & 3
    end = 2 + int.from_bytes(body[:2], "big")
    start = end + (2 if qos else 0)
    if qos > 1 or len(body) < start or end == 2:
        raise ValueError("malformed PUBLISH")
    packet_id = int.from_bytes(body[end:start], "big")
    if qos and not packet_id:
        raise ValueError("PUBLISH without its packet id")
    return Message(body[2:end], body[start:] if whole else None, packet_id, retained=bool(first & 1))


class Packets:
    """Bytes in, whole packets out; holds back an unfinished one, and never more than `limit` bytes of it."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._rest = b""
        self._skip = 0
        self._dropped = (0, b"")

    def feed(self, data: bytes) -> list:
        """Return the packets that are whole now, each as (first byte, body, whether the body is whole)."""
        packets: list = []
        if self._skip:
            cut = min(self._skip, len(data))
            self._skip -= cut
            data = data[cut:]
            if self._skip:
                return packets
            packets.append(self._dropped + (False,))
        self._rest += data
        while self._take(packets):
            pass
        return packets

    def _take(self, packets: list) -> bool:
        # Move one packet from the rest to the list; False where the rest holds no whole one.
        rest = self._rest
        length, at = 0, 1
        while True:
            if at >= len(rest):
                return False
            length |= (rest[at] & 0x7F) << (7 * (at - 1))
            at += 1
            if rest[at - 1] < 0x80:
                break
            if at > 4:
                raise ValueError("malformed length")
        if not _expected(rest[0], length):
            raise ValueError("unexpected packet")
        end = at + length
        if len(rest) >= end:
            packets.append((rest[0], rest[at:end], True))
            self._rest = rest[end:]
            return True
        if length > self.limit and len(rest) >= at + _HEAD:
            self._dropped = (rest[0], rest[at : at + _HEAD])
            self._skip = end - len(rest)
            self._rest = b""
        return False


def _expected(first: int, length: int) -> bool:
    # What a broker may send to a subscriber, by the first byte, and how long that can be.
    if first >> 4 == PUBLISH:
        return first >> 1 & 3 < 2
    if first in (0x20, 0x40, 0xB0):
        return length == 2
    return (first == 0x90 and 3 <= length <= 64) or (first == 0xD0 and length == 0)


def _packet(first: int, body: bytes) -> bytes:
    length, head = len(body), bytes((first,))
    while True:
        length, low = divmod(length, 128)
        head += bytes((low | 0x80 if length else low,))
        if not length:
            return head + body


def _text(text: "str | bytes") -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return len(data).to_bytes(2, "big") + data
