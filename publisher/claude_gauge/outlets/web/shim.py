"""The web server as an outlet of the publisher, and for `claude-gauge web`, which has no node of its own."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from claude_gauge.config import Settings
from claude_gauge.contract.freshness import read
from claude_gauge.contract.scales import as_json
from claude_gauge.contract.usage import OFFLINE, ONLINE, node_of, status_topic, usage_topic
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Handler, Message
from claude_gauge.outlets.web.site import WebSite
from claude_gauge.system.http.messages import Site
from claude_gauge.system.http.server import Listener, Server
from claude_gauge.system.net import OwnHosts, host_of

log = logging.getLogger(__name__)

DEFAULT_REDLINE = 1_000_000.0
OFF = "off"


class Listens(Protocol):
    """A link to a broker, as far as it is needed here."""

    def listen(self, topic_filter: str, handler: Handler) -> None:
        """Call the handler with each message."""


class Shim:
    """HTTP at `address`; a request only ever touches the bytes that were pushed last.

    `own` is this publisher's node, None for a mere display. Other nodes are read over `link`, from the first request
    for one of them on.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        address: str,
        health: Callable[[], Mapping[str, Any]],
        *,
        server: Server | None = None,
        own: str | None = "",
        link: Listens | None = None,
        scales: Mapping[str, Any] | None = None,
        hosts: Iterable[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self._server = server or Server()
        self._listener: Listener | None = None
        self._link, self._reads_nodes = link, False
        self._site = WebSite(own, health, as_json(DEFAULT_REDLINE) if scales is None else scales, now, self._ask)
        self._hosts = OwnHosts(host_of(address), hosts)

    def start(self) -> None:
        """Listen; raises GaugeError where the address can't be had."""
        advice = "this server does not answer to that Host; see http_hosts"
        site = Site(self._site.routes, self._hosts, foreign_advice=advice)
        self._listener = self._server.listen(self.address, site, name="http", flag="--http")
        self.port = self._listener.port
        host = host_of(self.address)
        log.info("http: http://%s:%d/", f"[{host}]" if ":" in host else host, self.port)

    def push(self, payload: bytes) -> None:
        """Show this payload from now on; from any thread, never blocks."""
        if self._listener is None:
            self._site.push(payload)
        else:
            self._listener.soon(self._site.push, payload)

    def remember(self, minutes: Mapping[int, int]) -> None:
        """Fill the strip with what was used before the first payload: tokens by minute, numbered from the epoch."""
        self._soon(self._site.remember, minutes)

    def rescale(self, scales: Mapping[str, Any]) -> None:
        """Draw the dials on these scales from now on, also on pages that are open; from any thread."""
        self._soon(self._site.rescale, scales)

    def stop(self) -> None:
        """End every connection; safe to call twice, and before `start`."""
        if self._listener is not None:
            self._listener.close()

    def _soon(self, do: Callable[..., None], *values: object) -> None:
        """Have the site do something on the server's thread, once there is one."""
        if self._listener is not None:
            self._listener.soon(do, *values)

    def _ask(self) -> None:
        if self._link is not None and not self._reads_nodes:
            self._reads_nodes = True
            self._link.listen(usage_topic("+"), self._on_payload)
            self._link.listen(status_topic("+"), self._on_status)

    def _on_payload(self, message: Message) -> None:
        node = node_of(message.topic)
        if node and read(message.payload) is not None:
            self._soon(self._site.receive, node, message.payload, message.retain)

    def _on_status(self, message: Message) -> None:
        node, status = node_of(message.topic), message.payload.decode("ascii", "replace")
        if node and status in (ONLINE, OFFLINE):
            self._soon(self._site.set_status, node, status)


def scales_of(settings: Settings) -> Mapping[str, Any]:
    """Return the scales of the page's dials, as the settings say."""
    return as_json(settings.redline, settings.cache_floor)


def serve(
    settings: Settings,
    health: Callable[[], Mapping[str, Any]],
    *,
    server: Server | None = None,
    link: Listens | None = None,
    own: bool = True,
) -> Shim | None:
    """Start what the settings ask for; None where it is off.

    An address that the person chose and that can't be had raises GaugeError. The default one may well be
    taken by something else: the needles matter more, so that is a warning and the publisher goes on without HTTP.
    """
    if settings.http == OFF:
        return None
    make = functools.partial(Shim, settings.http, health, server=server, link=link, hosts=settings.http_hosts)
    shim = make(own=settings.node if own else None, scales=scales_of(settings))
    try:
        shim.start()
    except GaugeError as error:
        if not own or settings.http != Settings.model_fields["http"].default:
            raise
        log.warning("%s; going on without HTTP", error)
        return None
    return shim


class Display:
    """Serves the page with every node of the broker; `run` until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._link = Link(settings, status=None)
        self._ended = threading.Event()

    def run(self) -> None:
        """Serve; raises GaugeError where the address can't be had."""
        if self._settings.http == OFF:
            raise GaugeError("--http off: there is nothing to serve; name an address, such as 127.0.0.1:8080")
        shim = serve(self._settings, self._health, link=self._link, own=False)
        self._link.start()
        try:
            self._ended.wait()
        finally:
            self._link.stop()
            if shim is not None:
                shim.stop()

    def stop(self) -> None:
        """End `run` soon; from any thread."""
        self._ended.set()

    def _health(self) -> Mapping[str, Any]:
        link = self._link
        return {"broker": {"place": link.endpoint.place, "connected": link.connected, "why": link.trouble}}
