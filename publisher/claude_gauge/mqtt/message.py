"""One MQTT message, going out or coming in, and which topics and filters MQTT allows at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# MQTT forbids NUL; brokers may end the connection at other control characters, too (Mosquitto does).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
LONGEST_TOPIC = 65535


@dataclass(frozen=True, slots=True)
class Message:
    """A message; of one that came in, `retain` says that the broker had kept it from an earlier time.

    `lost`: the broker says it in the sender's place (a last will), since that connection broke. MQTT 5 alone tells.
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
    """Say why nothing can be published to this topic; an empty string where it can."""
    if set(topic) & {"+", "#"}:
        return "a topic that is written to holds no + or #"
    return _text_fault(topic)


def filter_fault(topic_filter: str) -> str:
    """Say why nobody can subscribe to this filter; an empty string where one can."""
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
