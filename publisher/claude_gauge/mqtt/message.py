"""MQTT messages, valid topics and filters, and the subscriptions with their handlers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

# MQTT forbids NUL; brokers may end the connection at other control characters, too (Mosquitto does).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
LONGEST_TOPIC = 65535


@dataclass(frozen=True, slots=True)
class Message:
    """A message; of one that came in, `retain` says that the broker had kept it from an earlier time.

    `lost`: the broker says it in the sender's place (a last will), since that connection broke. Only MQTT 5 marks it.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    expiry_s: int | None = None
    lost: bool = False

    @property
    def size(self) -> int:
        """An upper bound of the packet's size: topic, payload, and at most 32 bytes of headers."""
        return len(self.topic.encode("utf-8", "replace")) + len(self.payload) + 32


Handler = Callable[[Message], None]


def topic_fault(topic: str) -> str:
    """Return why nothing can be published to this topic; an empty string where it can."""
    if has_wildcards(topic):
        return "a topic that is written to holds no + or #"
    return _text_fault(topic)


def has_wildcards(topic_filter: str) -> bool:
    """Return whether a filter stands for more than one topic."""
    return bool(set(topic_filter) & {"+", "#"})


def filter_fault(topic_filter: str) -> str:
    """Return why nobody can subscribe to this filter; an empty string where one can."""
    levels = topic_filter.split("/")
    if any("+" in level and level != "+" for level in levels):
        return "+ stands for a whole level"
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        return "# stands for a whole level, the last one"
    return _text_fault(topic_filter)


def _text_fault(text: str) -> str:
    if not text:
        return "it is empty"
    if _UNPRINTABLE.search(text):
        return "it holds a character that MQTT forbids"
    if len(text.encode()) > LONGEST_TOPIC:
        return f"it is longer than {LONGEST_TOPIC:,} bytes"
    return ""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic filter and its handler; `foreign`: only new messages of other clients (no retained ones, noLocal)."""

    topic_filter: str
    handler: Handler
    qos: int = 1
    foreign: bool = False


class Listeners:
    """May be added to from any thread; all else is the link's thread's."""

    def __init__(self) -> None:
        self._all: list[Subscription] = []
        self._due: list[Subscription] = []

    def add(self, subscription: Subscription) -> None:
        """Take one more; it is subscribed for at the next turn."""
        self._all.append(subscription)
        self._due.append(subscription)

    def connected(self) -> None:
        """Begin a new connection, which knows of no subscription."""
        self._due = list(self._all)

    @property
    def due(self) -> list[Subscription]:
        """Those that this connection was not yet asked for."""
        return list(self._due)

    def asked(self, subscription: Subscription) -> None:
        """Note that this connection was asked for it."""
        if subscription in self._due:
            self._due.remove(subscription)

    def again(self, topic_filter: str) -> None:
        """Ask this connection for a filter once more."""
        self._due += [each for each in self._all if each.topic_filter == topic_filter and each not in self._due][:1]

    def of(self, topic: str) -> list[Subscription]:
        """Return those whose filter matches a topic."""
        return [each for each in list(self._all) if topic_matches_sub(each.topic_filter, topic)]

    def deliver(self, message: Message) -> None:
        """Call the handlers whose filter matches the message's topic."""
        for each in self.of(message.topic):
            try:
                each.handler(message)
            except Exception:  # one reader's fault must not cut the others off
                log.exception("a reader of %s failed", each.topic_filter)
