"""What is sent, and how the request is found at which a broker ends the connection."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.mqtt.guard import ECHO_S, Guard
from claude_gauge.mqtt.message import Listeners, Message, Subscription, filter_fault, topic_fault
from claude_gauge.mqtt.sender import (
    CERTAIN,
    HELD_BACK_S,
    MOST_ASKED_AGAIN,
    QUICK_S,
    UNACKED_LIMIT,
    Outbox,
    Pending,
    Quarantine,
    Sender,
)
from claude_gauge.mqtt.trouble import Report

LARGE, SMALL = Pending(subscribes=False, size=500, name="large"), Pending(subscribes=False, size=5, name="small")


@dataclass
class Broker:
    """Stands for a connection to a broker that ends it at certain topics and filters, and answers all else."""

    forbidden: frozenset[str]
    says_so: bool = False  # refuses before it ends the connection
    taken: list[str] = field(default_factory=list)
    alive: bool = True
    clogged: bool = False
    unacked_limit: int = UNACKED_LIMIT
    largest_packet: int | None = None
    wildcards: bool = True
    acknowledges: bool = True
    _unanswered: list[tuple[int, str]] = field(default_factory=list)
    _last: int = 0

    def publish(self, message: Message) -> int:
        """Take a message."""
        return self._ask(message.topic)

    def subscribe(self, topic_filter: str, qos: int, *, foreign: bool = False) -> int:
        """Take a subscription."""
        return self._ask(f"read {topic_filter} {qos} {foreign}")

    def _ask(self, what: str) -> int:
        self._last += 1
        self._unanswered.append((self._last, what))
        return self._last

    def answer(self, sender: Sender) -> bool:
        """Answer what was sent, in order, up to what is forbidden; return whether anything was."""
        asked, self._unanswered = self._unanswered, []
        for mid, what in asked:
            if what in self.forbidden:
                self.alive = False
                if self.says_so:
                    sender.answered(mid, "Not authorized")
                return False
            self.taken.append(what)
            sender.answered(mid, None)
        return bool(asked)


def live(sender: Sender, broker: Broker, now: float, *, forbidden: bool = False) -> list[str]:
    """Live one connection until nothing more is sent, or the broker ends it; return what it took."""
    sender.connected(broker)
    sender.send(broker, now)
    while broker.answer(sender):
        sender.send(broker, now)
    sender.ended(by_broker=not broker.alive, now=now, forbidden=forbidden)
    return broker.taken


def sender_of(topics: list[str], filters: list[str]) -> tuple[Sender, Report]:
    """Make a sender that has these topics to publish, each of another size, and these filters to subscribe to."""
    outbox, listeners, report = Outbox(), Listeners(), Report("host")
    for size, topic in enumerate(topics):
        outbox.put(Message(topic, b"x" * size))
    for each in filters:
        listeners.add(Subscription(each, lambda _message: None))
    return Sender(outbox, listeners, report, None), report


TOPICS, FILTERS = ["status", "usage", "discovery", "more"], ["born", "fleet", "all"]
EVERYTHING = TOPICS + [f"read {each} 1 False" for each in FILTERS]


@given(forbidden=st.frozensets(st.sampled_from(EVERYTHING)), order=st.permutations(TOPICS), says_so=st.booleans())
def test_whatever_ends_the_connection_is_found(forbidden: frozenset[str], order: list[str], says_so: bool) -> None:  # noqa: FBT001
    """Whatever a broker ends connections at is left out and reported, all else goes on, and the connection stays."""
    sender, report = sender_of(order, FILTERS)
    broker = Broker(forbidden)
    for second in range(60):
        broker = Broker(forbidden, says_so)
        live(sender, broker, second)
        if broker.alive:
            break

    assert broker.alive
    assert sorted(broker.taken) == sorted(set(EVERYTHING) - forbidden)
    reported = {topic for topic in TOPICS if report.refusal((False, topic)).what}
    reported |= {f"read {each} 1 False" for each in FILTERS if report.refusal((True, each)).what}
    assert reported == forbidden


@pytest.mark.parametrize("says_so", [False, True])
def test_broker_that_says_what_is_forbidden(says_so: bool) -> None:  # noqa: FBT001
    """Where a broker says that it ends the connection at something forbidden, one more connection shows what it is."""
    sender, report = sender_of(["usage"], FILTERS)
    forbidden = frozenset({"read born 1 False"})
    live(sender, Broker(forbidden, says_so), 0, forbidden=not says_so)
    if not says_so:
        live(sender, Broker(forbidden), 1, forbidden=True)
    after = Broker(forbidden, says_so)

    assert sorted(live(sender, after, 2)) == ["read all 1 False", "read fleet 1 False", "usage"]
    assert after.alive
    assert report.refusal((True, "born")).what


def test_no_wildcards() -> None:
    """A broker that takes no wildcards is not asked for a filter that has some, and the log says so."""
    sender, report = sender_of(["usage"], ["a/+", "b/#", "c"])
    taken = live(sender, Broker(frozenset(), wildcards=False), 0)

    assert taken == ["usage", "read c 1 False"]
    assert "takes no + and #" in report.refusal((True, "a/+")).what
    assert "takes no + and #" in report.refusal((True, "b/#")).what
    assert sender.settled


def test_broker_that_drops_in_silence() -> None:
    """On MQTT 3.1.1 an own topic whose values do not come back is reported once, until one does."""
    outbox, listeners, report = Outbox(), Listeners(), Report("host")
    guard = Guard("claude-gauge/n/status")
    sender, broker, topic = Sender(outbox, listeners, report, guard), Broker(frozenset()), "claude-gauge/n/usage"
    broker.acknowledges = False
    listeners.add(Subscription(topic, lambda _message: None, foreign=True))
    sender.connected(broker)

    def say(now: float) -> str:
        outbox.put(Message(topic, b"%d" % now))
        sender.send(broker, now)
        broker.answer(sender)
        sender.send(broker, now)
        return report.refusal((True, topic)).what

    assert say(0) == ""  # before the subscription is granted
    assert (say(1), say(1 + ECHO_S)) == ("", "")
    assert say(2 + ECHO_S) == f"broker host does not deliver what we write to {topic}"
    sender.connected(broker)
    assert say(3 + ECHO_S) != ""  # another connection alone proves nothing
    sender.delivered(topic)
    assert say(4 + ECHO_S) == ""


def test_id_in_use() -> None:
    """A subscription that is refused since its packet id is in use is asked for again, but not for ever."""
    sender, report = sender_of([], ["born"])
    broker, asked = Broker(frozenset()), 0
    sender.connected(broker)
    sender.send(broker, 0)
    while not sender.settled:
        asked += 1
        sender.answered(asked, "Packet identifier in use")
        sender.send(broker, 0)

    assert asked == MOST_ASKED_AGAIN + 1
    assert report.refusal((True, "born")).what


def test_status_and_usage_go_on_while_it_is_found() -> None:
    """While a forbidden subscription is being found, every connection gets all messages first."""
    sender, _ = sender_of(TOPICS, FILTERS)
    forbidden = frozenset({"read born 1 False"})

    for second in range(5):
        assert live(sender, Broker(forbidden), second)[: len(TOPICS)] == TOPICS


def test_subscription_is_tried_again_after_a_while() -> None:
    """A subscription that was left out is tried again on a new connection later: rules may have changed."""
    sender, report = sender_of(["usage"], ["born"])
    for second in range(CERTAIN + 2):
        live(sender, Broker(frozenset({"read born 1 False"})), second)
    assert report.refusal((True, "born")).what

    assert "read born 1 False" not in live(sender, Broker(frozenset()), HELD_BACK_S / 2)
    assert "read born 1 False" in live(sender, Broker(frozenset()), HELD_BACK_S + CERTAIN + 2)
    assert not report.refusal((True, "born")).what


def test_message_is_tried_again_on_a_connection_that_stands() -> None:
    """A network that failed three times at the usage costs a minute of it, not all until the next connection."""
    sender, report = sender_of(["usage"], ["born"])
    for second in range(CERTAIN + 2):
        live(sender, Broker(frozenset({"usage"})), second)
    broker = Broker(frozenset())
    live(sender, broker, 10)
    before = list(broker.taken)
    for now in (20, 30, HELD_BACK_S + 10, HELD_BACK_S + 11, HELD_BACK_S + 12):
        sender.send(broker, now)
        broker.answer(sender)

    assert before == ["read born 1 False"]
    assert broker.taken == ["read born 1 False", "usage"]
    assert not report.refusal((False, "usage")).what


def test_broker_that_never_takes_it_is_asked_less_and_less() -> None:
    """A message at which a broker always ends the connection costs it a few connections a day, all else is there."""
    sender, _ = sender_of(["status", "usage"], [])
    broker, ends, taken = Broker(frozenset({"usage"})), list[float](), 0
    for now in range(86_400):
        if not broker.alive or not now:
            broker = Broker(frozenset({"usage"}))
            sender.connected(broker)
        sender.send(broker, now)
        while broker.answer(sender):
            sender.send(broker, now)
        taken += len(broker.taken)
        broker.taken.clear()
        if not broker.alive:
            sender.ended(by_broker=True, now=now)
            ends.append(now)

    assert len(ends) < 40
    assert taken == len(ends) + 1  # `status` on each connection


def test_smaller_value_goes_out() -> None:
    """Of a topic that was too large, a smaller value is not left out."""
    quarantine = Quarantine()
    for _ in range(CERTAIN):
        quarantine.ended([(LARGE, 100.0)], 100.0)

    assert quarantine.holds(LARGE, 101)
    assert not quarantine.holds(Pending(subscribes=False, size=499, name="large"), 101)
    assert not quarantine.holds(SMALL, 101)


def test_late_ends_are_no_evidence() -> None:
    """A connection that ended long after the request, or with nothing unanswered, accuses nobody."""
    quarantine = Quarantine()
    for _ in range(CERTAIN * 2):
        quarantine.ended([(LARGE, 100.0)], 100.1 + QUICK_S)
        quarantine.ended([], 100.0)

    assert not quarantine.holds(LARGE, 101)
    assert not quarantine.suspects(LARGE, 101)


@pytest.mark.parametrize("topic", ["", "a/+/b", "#", "a\0b", "a\nb", "a\ud800", "x" * 70_000])
def test_impossible_topic(topic: str) -> None:
    """A topic that can't be is skipped and reported; what comes after it goes out, and the connection stays."""
    sender, report = sender_of([topic, "usage"], ["born"])
    broker = Broker(frozenset())

    assert live(sender, broker, 0) == ["usage", "read born 1 False"]
    assert report.refusal((False, topic)).what


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a+/b", "a\0"])
def test_impossible_filter(topic_filter: str) -> None:
    """A filter that can't be is skipped and reported."""
    sender, report = sender_of(["usage"], [topic_filter, "born"])

    assert live(sender, Broker(frozenset()), 0) == ["usage", "read born 1 False"]
    assert report.refusal((True, topic_filter)).what


def test_possible_topics_and_filters() -> None:
    """What MQTT allows is not refused."""
    assert [topic_fault(each) for each in ("a", "a b/ü/", "/", "$SYS/x")] == [""] * 4
    assert [filter_fault(each) for each in ("#", "a/#", "+", "a/+/b", "/+", "a b")] == [""] * 6
