"""MQTT packets. Runs under CPython and under MicroPython."""

from random import getrandbits

from gauge import packets


def publish(payload: bytes, packet_id: int = 0, topic: bytes = b"a/b", *, retained: bool = False) -> bytes:
    """Write a PUBLISH as a broker sends it."""
    body = len(topic).to_bytes(2, "big") + topic + (packet_id.to_bytes(2, "big") if packet_id else b"") + payload
    return packets._packet(0x30 | (2 if packet_id else 0) | (1 if retained else 0), body)


def refused(data: bytes) -> bool:
    """Return whether the decoder refuses these bytes."""
    try:
        for first, body, whole in packets.Packets().feed(data):
            if first >> 4 == packets.PUBLISH:
                packets.message(first, body, whole=whole)
    except ValueError:
        return True
    return False


def test_connect_is_to_the_letter() -> None:
    """CONNECT has the bytes of the standard: clean session, retained will at QoS 1, user and password."""
    asked = packets.connect("id", 15, ("w", "offline"), "me", "pw")

    assert asked == (b"\x10\x22\x00\x04MQTT\x04\xee\x00\x0f\x00\x02id\x00\x01w\x00\x07offline\x00\x02me\x00\x02pw")
    assert packets.connect("id", 15, ("w", "x"), "", "ignored")[9] == 0x2E


def test_long_packet_has_a_long_length() -> None:
    """A length over 127 takes as many bytes as it needs."""
    assert packets.publish("t", bytes(200), retain=True)[:3] == b"\x31\xcb\x01"
    assert packets.publish("t", bytes(20_000), retain=False)[:4] == b"\x30\xa3\x9c\x01"


def test_subscribe_and_acks() -> None:
    """SUBSCRIBE asks for QoS 1; PUBACK names the packet."""
    assert packets.subscribe(1, ["a", "b/c"]) == b"\x82\x0c\x00\x01\x00\x01a\x01\x00\x03b/c\x01"
    assert packets.unsubscribe(2, "a") == b"\xa2\x05\x00\x02\x00\x01a"
    assert packets.puback(258) == b"\x40\x02\x01\x02"


def test_any_cut_gives_the_same_packets() -> None:
    """However the bytes were cut on their way, the same packets come out."""
    stream = b"\x20\x02\x00\x00" + publish(b"one", 7) + packets.PING[:0] + b"\xd0\x00" + publish(bytes(300), 8)
    whole = packets.Packets().feed(stream)
    assert [first for first, _, _ in whole] == [0x20, 0x32, 0xD0, 0x32]

    for size in (1, 2, 3, 5, 7, 64):
        decoder, decoded = packets.Packets(), []
        for at in range(0, len(stream), size):
            decoded += decoder.feed(stream[at : at + size])
        assert decoded == whole


def test_message_in_full() -> None:
    """Topic, payload, packet id and the retained flag are read back."""
    (first, body, whole), *_ = packets.Packets().feed(publish(b"{}", 300, b"x/y", retained=True))
    message = packets.message(first, body, whole=whole)

    assert (message.topic, message.payload, message.packet_id, message.retained) == (b"x/y", b"{}", 300, True)


def test_oversized_is_dropped_not_kept() -> None:
    """A message too big for the heap is counted out; its id is known, and what follows is read as ever."""
    decoder = packets.Packets()
    stream = publish(bytes(100_000), 9, b"big") + publish(b"next", 10)
    decoded, most = [], 0
    for at in range(0, len(stream), 512):
        decoded += decoder.feed(stream[at : at + 512])
        most = max(most, len(decoder._rest))
    big, small = [packets.message(first, body, whole=whole) for first, body, whole in decoded]

    assert (big.topic, big.payload, big.packet_id) == (b"big", None, 9)
    assert (small.payload, small.packet_id) == (b"next", 10)
    assert most <= 1024


def test_hostile_bytes_are_refused() -> None:
    """What no broker sends is refused at once: wrong kinds, impossible lengths, broken insides."""
    for data in (
        b"\x30\xff\xff\xff\xff\x01",  # a length that never ends
        b"\x10\x00",  # a CONNECT, from a broker
        b"\x00\x00",
        b"\xf0\x00",
        b"\x20\x03\x00\x00\x00",  # CONNACK of three bytes
        b"\x90\xff\x7f",  # SUBACK of 16 kB
        b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
        b"\x34\x05\x00\x01a\x00\x01",  # QoS 2, which we never asked for
        b"\x30\x02\x00\x05",  # a topic longer than its packet
        b"\x30\x00",
        b"\x30\x02\x00\x00",  # no topic
        b"\x32\x03\x00\x01a",  # no packet id
        b"\x32\x05\x00\x01a\x00\x00",  # packet id 0
    ):
        assert refused(data), data


def test_fuzz() -> None:
    """Random bytes are packets or ValueError, and never hold more memory than the limit."""
    for turn in range(3000):
        decoder = packets.Packets(512)
        valid = publish(bytes(getrandbits(6)), 1 + getrandbits(8))
        data = bytearray(valid * 3 if turn % 2 else bytes([getrandbits(8) for _ in range(40)]))
        for _ in range(getrandbits(3)):
            data[getrandbits(12) % len(data)] = getrandbits(8)
        try:
            for at in range(0, len(data), 16):
                for first, body, whole in decoder.feed(bytes(data[at : at + 16])):
                    if first >> 4 == packets.PUBLISH:
                        packets.message(first, body, whole=whole)
                assert len(decoder._rest) <= 512 + 16
        except ValueError:
            pass
