from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.sender import ONCE_LIMIT, Outbox


def value(topic: str, payload: str) -> Message:
    """A retained value."""
    return Message(topic, payload.encode())


def take(outbox: Outbox) -> Message | None:
    """Take what goes out next: values first."""
    return outbox.take_value() or outbox.take_once()


def test_newest_value_of_a_topic() -> None:
    """Of many values only the newest is sent."""
    outbox = Outbox()
    for number in range(9):
        outbox.put(value("a", str(number)))

    assert take(outbox) == value("a", "8")
    assert take(outbox) is None


def test_everything_again_on_a_new_connection() -> None:
    """A new connection sends every topic's newest value, in the order of the topics' first coming."""
    outbox = Outbox()
    for topic in "abc":
        outbox.put(value(topic, "1"))
        take(outbox)
    outbox.put(value("a", "2"))
    outbox.connected(16)

    assert [take(outbox) for _ in range(4)] == [value("a", "2"), value("b", "1"), value("c", "1"), None]


def test_waits_for_acknowledgements() -> None:
    """When too many are unacknowledged nothing more is handed out, and then the newest."""
    outbox = Outbox()
    outbox.connected(1)
    outbox.put(value("a", "1"))
    outbox.sent(7, take(outbox) or value("", ""), 100.0)
    outbox.put(value("a", "2"))
    outbox.put(value("a", "3"))

    assert take(outbox) is None
    assert outbox.waits_since(105.0) == 100.0
    assert outbox.acked(7) == value("a", "1")
    assert take(outbox) == value("a", "3")


def test_unknown_acknowledgement() -> None:
    """An acknowledgement of something that was never sent changes nothing."""
    assert Outbox().acked(99) is None


def test_once_is_bounded() -> None:
    """Messages that are sent once never pile up; of QoS 0 they die with their connection."""
    outbox = Outbox()
    for number in range(ONCE_LIMIT * 2):
        outbox.put_once(Message("a", str(number).encode(), qos=0, retain=False))

    assert take(outbox) == Message("a", str(ONCE_LIMIT).encode(), qos=0, retain=False)
    outbox.connected(16)
    assert take(outbox) is None


def test_event_outlives_its_connection() -> None:
    """An alert that the broker never acknowledged, or never saw, goes out on the next connection."""
    outbox, alerts = Outbox(), [Message("alert", text, retain=False) for text in (b"80", b"95")]
    for each in alerts:
        outbox.put_once(each)
    first = take(outbox)
    assert first == alerts[0]
    outbox.sent(1, first, 100.0)
    outbox.connected(16)

    assert [take(outbox), take(outbox), take(outbox)] == [*alerts, None]


@given(st.lists(st.sampled_from(["put", "take", "ack", "connect", "again"]), max_size=60))
def test_newest_value_always_arrives(actions: list[str]) -> None:
    """Whatever happens between, in the end the last thing taken is the newest value."""
    outbox, newest, taken, mids = Outbox(), None, None, 0
    outbox.connected(2)
    for number, action in enumerate([*actions, "connect"]):
        match action:
            case "put":
                newest = value("a", str(number))
                outbox.put(newest)
            case "take":
                taken = take(outbox) or taken
                mids += 1
                outbox.sent(mids, taken or value("", ""), 0)
            case "ack":
                outbox.acked(mids)
            case "again":
                outbox.again("a")
            case _:
                outbox.connected(2)
    while message := take(outbox):
        taken = message

    assert newest is None or taken == newest
