"""Nodes on the web server: the newest payload, its age, the strip and the listeners of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from claude_gauge.contract.freshness import SILENCE_S, read, seconds
from claude_gauge.contract.history import History
from claude_gauge.contract.usage import OFFLINE
from claude_gauge.system.http.messages import Answer, RefusedError, Stream, answer, as_json

RETRY = b"retry: 1000\n\n"
NO_PAYLOAD = "no payload yet: the sources are still read"


class Channel:
    """One node's state; used on the server's thread only. `clock` returns epoch seconds."""

    def __init__(
        self, clock: Callable[[], float], name: str = "", empty: Callable[[], str] = lambda: NO_PAYLOAD
    ) -> None:
        self.name = name
        self.payload: bytes | None = None
        self.status = ""
        self.history = History()
        self.streams: dict[Stream, None] = {}
        self._clock = clock
        self._made_at = 0.0  # when the payload was computed, by this machine's clock
        self._empty = empty  # why there is no payload
        self._usage: Answer | None = None

    def push(self, payload: bytes, *, retained: bool = False) -> None:
        """Take the newest payload; what a broker had kept is as old as its own stamp says."""
        now = self._clock()
        usage = read(payload)
        stamp = seconds(usage.updated_at) if usage and retained else None
        self.payload, self._made_at = payload, now if stamp is None else stamp
        self._usage = answer(HTTPStatus.OK, payload, "application/json")
        rate = usage.figure("rate_1m") if usage and not retained else None
        if usage is not None and rate is not None:
            self.history.add(now, rate, usage.window_5h_pct if usage.fuel_source else None)
        aged = self._aged()
        for stream in tuple(self.streams):
            stream.send(aged if retained else _event(payload))

    def set_status(self, status: str) -> None:
        """Take what the node's status topic says: `online` or `offline`."""
        if status != self.status:
            self.status = status
            for stream in tuple(self.streams):
                stream.send(_status(status), "status")

    def rescaled(self) -> None:
        """Tell the listeners that the dials' scales are others now."""
        for stream in tuple(self.streams):
            stream.send(b"event: scales\ndata: new\n\n", "scales")

    @property
    def age(self) -> float | None:
        """Seconds since the newest payload was made, None before the first; a wrong clock of its maker makes it old."""
        if self.payload is None:
            return None
        age = self._clock() - self._made_at
        return age if age >= -SILENCE_S else SILENCE_S

    @property
    def stale(self) -> bool:
        """Whether the newest payload is stale."""
        return self.age is None or self.age >= SILENCE_S or self.status == OFFLINE

    def usage(self) -> Answer:
        """Answer with the newest payload's very bytes; raises RefusedError before the first."""
        if self._usage is None:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, self._empty(), ("Retry-After", "1"))
        return self._usage

    def strip(self) -> Answer:
        """Answer with the last five hours."""
        strip = self.history.last(self._clock())
        slices = [None if each is None else [round(each.rate), each.share and round(each.share, 3)] for each in strip]
        return as_json({"slice_s": self.history.slice_s, "slices": slices})

    def joined(self, stream: Stream) -> bytes:
        """Add a listener: it gets the newest payload and its age."""
        self.streams[stream] = None
        return RETRY + (_status(self.status) if self.status else b"") + self._aged()

    def left(self, stream: Stream) -> None:
        """Forget a listener."""
        self.streams.pop(stream, None)

    def entry(self) -> dict[str, object]:
        """Describe it for the page's wall: all that a dial needs."""
        parsed = read(self.payload or b"")
        usage = parsed.model_dump(mode="json", exclude={"sources"}) if parsed else None
        age = self.age
        return {
            "node": self.name,
            "status": self.status,
            "age_s": None if age is None else round(age, 1),
            "usage": usage,
        }

    def _aged(self) -> bytes:
        if self.payload is None:
            return b""
        return f"event: age\ndata: {max(0.0, self.age or 0.0):.1f}\n\n".encode() + _event(self.payload)


class Wall:
    """All nodes at once: each listener gets every node's newest figures, as one JSON object per node."""

    def __init__(self, channels: Callable[[], list[Channel]]) -> None:
        self._channels = channels
        self._streams: dict[Stream, None] = {}

    def joined(self, stream: Stream) -> bytes:
        """Add a listener: it gets an event per node."""
        self._streams[stream] = None
        return RETRY + b"".join(map(_entry, self._channels()))

    def left(self, stream: Stream) -> None:
        """Forget a listener."""
        self._streams.pop(stream, None)

    def changed(self, channel: Channel) -> None:
        """Send a changed node to every listener."""
        if self._streams:
            entry = _entry(channel)
            for stream in tuple(self._streams):
                stream.send(entry, channel.name)


def _entry(channel: Channel) -> bytes:
    return b"event: node\ndata: " + json.dumps(channel.entry(), separators=(",", ":")).encode() + b"\n\n"


def _status(status: str) -> bytes:
    return f"event: status\ndata: {status}\n\n".encode()


def _event(payload: bytes) -> bytes:
    return b"data: " + payload.replace(b"\r", b"").replace(b"\n", b"\ndata: ") + b"\n\n"
