"""Reads, replaces or clears retained topics once, and checks that the broker did it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Handler, Message
from claude_gauge.mqtt.trouble import FINE, NOT_KEPT, Reason

CONNECT_S = 5.0
RETAINED_S = 1.0  # a broker sends what it keeps at once
SETTLED_S = 10.0  # a broker that ends the connection at a forbidden subscription is asked three times
FLUSH_S = 15.0
ECHO_S = 3.0


class Retained:
    """The topics that match these filters, over a link of its own; use it in a `with`.

    A write counts as done when the broker says so (MQTT 5, PUBACK). MQTT 3.1.1 knows no refusal: there it counts when
    the message comes back to us, so the filters have to cover the topics that are written.
    """

    def __init__(self, settings: Settings, *filters: str, url: str | None = None, quiet: bool = False) -> None:
        self.link = Link(settings, status=None, url=url, quiet=quiet)
        self.held: dict[str, bytes] = {}
        self._filters = list(filters)
        self._settled = False
        self._echoed: dict[str, bytes] = {}
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        for each in self._filters:
            self.link.listen(each, self._on_message)
        self.link.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.link.stop()

    def also(self, topic_filter: str, handler: Handler = lambda _message: None) -> None:
        """Look at these topics, too; `handler` gets every message."""

        def take(message: Message) -> None:
            self._on_message(message)
            handler(message)

        self._filters.append(topic_filter)
        self.link.listen(topic_filter, take)

    def connect(self) -> None:
        """Wait for the broker, and until it has taken or refused what we ask for.

        Raises GaugeError with the reason where it does not let us in.
        """
        if not self.link.wait_connected(CONNECT_S):
            reason = self.link.reason
            raise GaugeError(
                str(reason if reason.what else Reason(f"broker {self.link.endpoint.place} does not answer"))
            )
        self.settle()

    def settle(self) -> None:
        """Wait until the broker has taken or refused what we asked for last."""
        self._settled = self.link.wait_settled(SETTLED_S)

    def unreadable(self, *filters: str) -> Reason:
        """Return why what these filters match, or any that we look at, can't be seen; `FINE` where all can be.

        Where it can't, nothing seen does not mean that nothing is there.
        """
        reasons = (self.link.unreadable(each) for each in filters or self._filters)
        reason = next((each for each in reasons if each.what), FINE)
        if reason.what or self._settled:
            return reason
        return Reason(f"broker {self.link.endpoint.place} does not say whether this user may read it", "try again")

    def look(self, topics: int) -> None:
        """Wait until so many topics were seen, or for as long as a broker needs to send what it keeps."""
        with self._news:
            self._news.wait_for(lambda: len(self.held) >= topics, RETAINED_S)

    def hears(self, topic: str, seconds: float) -> bool:
        """Wait for a message of this topic that is new, not retained; return whether one came."""
        with self._news:
            return self._news.wait_for(lambda: topic in self._echoed, seconds)

    def write(self, values: Mapping[str, bytes], *, expiry_s: int | None = None) -> None:
        """Make these the retained values, b"" for none; raises GaugeError where the broker did not take one."""
        for topic, payload in values.items():
            self.link.announce(topic, payload, expiry_s=expiry_s)
        flushed = self.link.flush(FLUSH_S)
        refused = [reason for topic in values if (reason := self.link.refusal(topic)).what]
        if refused:
            raise GaugeError(str(refused[0]))
        if not flushed:
            raise GaugeError(
                self.link.trouble or f"broker {self.link.endpoint.place} did not take it in time; try again"
            )
        if not self.link.acknowledges:
            self._prove(values)

    def _prove(self, values: Mapping[str, bytes]) -> None:
        """Wait until all of this has come back; raises GaugeError."""
        with self._news:
            came = self._news.wait_for(lambda: all(self._echoed.get(t) == p for t, p in values.items()), ECHO_S)
        if not came:
            lost = next(topic for topic, payload in values.items() if self._echoed.get(topic) != payload)
            place, unreadable = self.link.endpoint.place, self.unreadable()
            why = "this user may not write it, or may not read it; check its ACL"
            if unreadable.what:
                why = "it " + str(unreadable).removeprefix(f"broker {place} ")
            what = f"broker {place} does not deliver what was written to {lost}"
            raise GaugeError(f"{what}, so that nothing shows that it took it: {why}")

    def not_kept(self, topic: str, payload: bytes) -> Reason:
        """Return why who subscribes to this topic later does not get what was just written to it.

        `FINE` if they do, and where this user may not read the topic: then it is not known. A broker that keeps no
        retained messages need not say so: we subscribe once more to see.
        """
        not_kept = NOT_KEPT.by(self.link.endpoint.place)
        if not self.link.keeps_retained:
            return not_kept
        if self.link.unreadable(topic).what:
            return FINE
        with self._news:
            if not self._news.wait_for(lambda: self._echoed.get(topic) == payload, RETAINED_S):
                return FINE
            self.held.pop(topic, None)
        self.link.listen(topic, self._on_message)
        with self._news:
            kept = self._news.wait_for(lambda: self.held.get(topic) == payload, RETAINED_S)
        return FINE if kept or self.link.unreadable(topic).what else not_kept

    def _on_message(self, message: Message) -> None:
        with self._news:
            if message.retain:
                self.held[message.topic] = message.payload
            else:
                self._echoed[message.topic] = message.payload
            self._news.notify_all()
