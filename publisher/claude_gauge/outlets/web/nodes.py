"""The other nodes that the broker tells of: heard over the publisher's own link, once a page asks for one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from claude_gauge.contract.freshness import read
from claude_gauge.contract.usage import NODE_PATTERN, OFFLINE, ONLINE, status_topic, usage_topic
from claude_gauge.mqtt.message import Handler, Message

_NODE = re.compile(NODE_PATTERN)


class Listens(Protocol):
    """A link to a broker, as far as it is needed here."""

    def listen(self, topic_filter: str, handler: Handler) -> None:
        """Call the handler with each message."""


class Nodes:
    """Hands on every valid payload, by `told(node, payload, retained)`, and every status, by `said(node, status)`.

    Both are called on the link's thread.
    """

    def __init__(
        self, link: Listens, told: Callable[[str, bytes, bool], None], said: Callable[[str, str], None]
    ) -> None:
        self._link, self._told, self._said = link, told, said
        self._listening = False

    def listen(self) -> None:
        """Begin to listen; calling it again changes nothing."""
        if not self._listening:
            self._listening = True
            self._link.listen(usage_topic("+"), self._usage)
            self._link.listen(status_topic("+"), self._status)

    def _usage(self, message: Message) -> None:
        node = _node(message.topic)
        if node and read(message.payload) is not None:
            self._told(node, message.payload, message.retain)

    def _status(self, message: Message) -> None:
        node, status = _node(message.topic), message.payload.decode("ascii", "replace")
        if node and status in (ONLINE, OFFLINE):
            self._said(node, status)


def _node(topic: str) -> str:
    node = topic.split("/")[1]
    return node if _NODE.fullmatch(node) else ""
