"""The web routes and their answers: the page's files and the newest payloads; no request reaches a source."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from claude_gauge.contract.freshness import SILENCE_S
from claude_gauge.contract.usage import NODE_PATTERN
from claude_gauge.outlets.web.channel import Channel, Wall
from claude_gauge.system.http.messages import (
    Answer,
    HttpRequest,
    RefusedError,
    Route,
    answer,
    as_json,
    events,
    unless_known,
)

log = logging.getLogger(__name__)

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
POLICY = (
    "Content-Security-Policy",
    "; ".join(
        [
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "worker", "manifest", "connect")),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    ),
)
_ARC = 108.4  # length of the icon's dial, in its own units
_SHARE = re.compile(r"\d{1,3}")


class Page:
    """Every file of the folder `assets`, by its path; the folder's `index.html` is at `/`."""

    def __init__(self) -> None:
        assets = sorted(files("claude_gauge.outlets.web").joinpath("assets").iterdir(), key=lambda each: each.name)
        self._files = {each.name: each.read_bytes() for each in assets if each.name.rpartition(".")[2] in KINDS}
        self.paths = (*("/" if name == "index.html" else f"/{name}" for name in self._files), "/state.svg")

    def answer(self, request: HttpRequest) -> Answer:
        """Answer with a file, or with the icon that shows a state."""
        if request.path == "/state.svg":
            return _state(request.option("show"))
        return self._answer(request.path)

    @lru_cache(maxsize=32)  # noqa: B019 - a page lives as long as the process
    def _answer(self, path: str) -> Answer:
        name = path.lstrip("/") or "index.html"
        return answer(HTTPStatus.OK, self._files[name], KINDS[name.rpartition(".")[2]], POLICY)


@lru_cache(maxsize=128)
def _state(show: str) -> Answer:
    """Draw the tab's icon: the share of the 5-hour window in percent on its dial, or a struck-out dial for stale."""
    share = min(100, int(show)) if _SHARE.fullmatch(show) else None
    colour = "#8a929b" if share is None else "#ff4d4f" if share >= 80 else "#f5a623" if share >= 60 else "#2fbf71"  # noqa: PLR2004 - the dial's zones
    length = 0.0 if share is None else _ARC * share / 100
    text = "?" if share is None else str(share)
    size = 30 if len(text) < 3 else 23  # noqa: PLR2004 - "100"
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><circle cx="32" cy="32" r="32" fill="#12151a"/>'
        '<g fill="none" stroke-width="8"><path d="M13.6 50.4A26 26 0 1 1 50.4 50.4" stroke="#343a42"/>'
        f'<path d="M13.6 50.4A26 26 0 1 1 50.4 50.4" stroke="{colour}" stroke-dasharray="{length:.1f} 200"/></g>'
        f'<text x="32" y="43" fill="#ece7d8" font-family="Arial,sans-serif" font-weight="700" font-size="{size}" '
        f'text-anchor="middle">{text}</text></svg>'
    )
    return answer(HTTPStatus.OK, drawn.encode(), KINDS["svg"], POLICY)


MOST_NODES = 100
_NODE = re.compile(NODE_PATTERN)


class WebSite:
    """The page and the figures behind it, of this node and of others; used on the server's thread alone.

    `own` is this publisher's node, None where there is none (a wall display). `ask` is called when a page asks for
    other nodes: they are listened to from then on.
    """

    def __init__(
        self,
        own: str | None,
        health: Callable[[], Mapping[str, Any]],
        scales: Mapping[str, Any],
        clock: Callable[[], float],
        ask: Callable[[], None] = lambda: None,
    ) -> None:
        self.own = Channel(clock, own or "")
        self.clock = clock
        self._own_name = own
        self._health = health
        self._ask = ask
        self._others: dict[str, Channel] = {}
        self._wall = Wall(self._received)
        page = Page()
        self.rescale(scales)
        roads: dict[str, Callable[[HttpRequest], Answer]] = {
            "/usage": lambda request: self._channel(request).usage(),
            "/events": lambda request: events(self._channel(request)),
            "/history": lambda request: self._channel(request).strip(),
            "/healthz": lambda _: self._healthz(),
            "/scales": lambda _: self._scales,
            "/nodes": lambda _: self._list(),
            "/nodes/events": lambda _: self._all_nodes(),
            **dict.fromkeys(page.paths, page.answer),
        }
        self.routes = {path: Route(_with_etag(road)) for path, road in roads.items()}

    def push(self, payload: bytes) -> None:
        """Take this node's newest payload."""
        self.own.push(payload)
        self._wall.changed(self.own)

    def rescale(self, scales: Mapping[str, Any]) -> None:
        """Draw the dials on these scales from now on; open pages ask for them."""
        self._scales = as_json({"node": self._own_name, **scales, "silence_s": SILENCE_S})
        for channel in (self.own, *self._others.values()):
            channel.rescaled()

    def remember(self, minutes: Mapping[int, int]) -> None:
        """Fill the strip with what was used before."""
        self.own.history.remember(minutes, self.clock())

    def receive(self, node: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - as the listener is called
        """Take a valid payload of another node."""
        channel = self._other(node)
        if channel is not None:
            channel.push(payload, retained=retained)
            self._wall.changed(channel)

    def set_status(self, node: str, status: str) -> None:
        """Take another node's status; one that never sent a payload has no place here."""
        channel = self._others.get(node)
        if channel is not None:
            channel.set_status(status)
            self._wall.changed(channel)

    def _other(self, node: str) -> Channel | None:
        """Return the channel of a node that sent a payload, or is waited for; None for our own, or too many."""
        if node == self._own_name:
            return None
        channel = self._others.get(node)
        if channel is None:
            if len(self._others) >= MOST_NODES and not self._forget_one():
                return None
            channel = self._others[node] = Channel(self.clock, node, lambda: self._nothing_from(node))
        return channel

    def _nothing_from(self, node: str) -> str:
        """Say why there is no payload: the broker may be away, or refuse to show it."""
        broker = self._state().get("broker")
        why = broker.get("why") if isinstance(broker, Mapping) else ""
        return f"nothing received from node {node} yet" + (f": {why}" if why else "")

    def _forget_one(self) -> bool:
        spare = next((name for name, each in self._others.items() if each.stale and not each.streams), None)
        if spare is not None:
            del self._others[spare]
        return spare is not None

    def _channel(self, request: HttpRequest) -> Channel:
        node = request.option("node")
        if not node and self._own_name is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "this server has no node of its own: name one with ?node=")
        if node in ("", self._own_name):
            return self.own
        self._ask()
        if not _NODE.fullmatch(node):
            raise RefusedError(HTTPStatus.NOT_FOUND, "that is no node's name")
        channel = self._other(node)
        if channel is None:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"more than {MOST_NODES} nodes", ("Retry-After", "30"))
        return channel

    def _received(self) -> list[Channel]:
        """List every node that sent a payload, our own first."""
        own = [self.own] if self._own_name is not None else []
        return [*own, *(self._others[name] for name in sorted(self._others) if self._others[name].payload)]

    def _list(self) -> Answer:
        self._ask()
        rows = ({"node": each.name, "status": each.status, "stale": each.stale} for each in self._received())
        return as_json({"own": self._own_name, "nodes": list(rows)})

    def _all_nodes(self) -> Answer:
        self._ask()
        return events(self._wall)

    def _state(self) -> dict[str, Any]:
        try:
            return dict(self._health())
        except Exception:
            log.exception("the publisher's health could not be read")
            return {"health": "unknown"}

    def _healthz(self) -> Answer:
        health = self._state()
        if self._own_name is None:
            connected = bool(health.get("broker", {}).get("connected"))
            state = HTTPStatus.OK if connected else HTTPStatus.SERVICE_UNAVAILABLE
            return as_json({"status": "ok" if connected else "no broker", **health}, state)
        age = self.own.age
        status = "starting" if age is None else "ok" if age < SILENCE_S else "stale"
        code = HTTPStatus.OK if status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        return as_json({"status": status, "age_s": None if age is None else round(max(0.0, age), 1), **health}, code)


def _with_etag(road: Callable[[HttpRequest], Answer]) -> Callable[[HttpRequest], Answer]:
    return lambda request: unless_known(road(request), request)
