"""Builds a publisher from the settings: the source, the loop, the outlets; runs it until a signal, or once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from claude_gauge.config import Settings
from claude_gauge.contract.usage import EXPIRY_S, Usage, status_topic, usage_topic
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.sums import FIVE_HOURS_S
from claude_gauge.daemon.broker.embedded import resolve
from claude_gauge.daemon.lifetime import KeptWindow, Lifetime
from claude_gauge.daemon.machine import NodeLock, Watchdog, give_back_memory, notify, take_short_turns
from claude_gauge.daemon.publisher import Publisher
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.retained import Retained
from claude_gauge.outlets.alerts.outlet import Alerts
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.outlets.homeassistant.numbers import Numbers, held
from claude_gauge.outlets.web.shim import Shim, scales_of, serve
from claude_gauge.sources.select import choose
from claude_gauge.sources.source import Remembers, Source
from claude_gauge.system.http.server import Server
from claude_gauge.system.signals import until_signal

log = logging.getLogger(__name__)


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings name: ceiling, redline, silence, cache floor."""
    return Limits(
        ceiling_5h=settings.ceiling_5h,
        redline=settings.redline,
        stall_s=settings.stall_minutes * 60,
        cache_floor=settings.cache_floor,
        tach=settings.tach,
    )


class Outlet(Protocol):
    """A receiver of payloads. Its constructor has no effects; `start` has."""

    def start(self) -> None:
        """Begin; raises GaugeError for a mistake that a person must correct."""

    def __call__(self, usage: Usage, payload: bytes, /) -> None:
        """Take a payload and its bytes; never blocks."""

    def stop(self) -> None:
        """End; called after a `start` that went well."""


class Assembly:
    """A publisher with all its outlets; `run` until `stop`."""

    def __init__(  # noqa: PLR0913 - what a publisher is put together from, by name
        self,
        settings: Settings,
        *,
        url: str | None = None,
        source: Source | None = None,
        clock: Callable[[], float] = time.time,
        leaves_nothing: bool = False,
        lock: NodeLock | None = None,
    ) -> None:
        server = Server()  # one for all addresses
        self.link = Link(settings, status=status_topic(settings.node), url=url, leaves_nothing=leaves_nothing)
        source = source or choose(settings, clock=clock, server=server)
        self._numbers = Numbers(self.link, settings, self._settings_changed)
        self._http = _Http(settings, self, server, source, clock)
        self._window = KeptWindow(settings.state_dir, settings.node, settings.account, clock=clock)
        lifetime = Lifetime(settings.state_dir, settings.node, source)
        broker = _Broker(self.link, settings, made_up=leaves_nothing)  # a demo's alone
        self._outlets: list[Outlet] = [
            self._http,  # first: a port that can't be had ends the start
            self._numbers,
            broker,
            Alerts(settings, self.link, clock=clock),
            self._window,
            lifetime,
        ]
        published: list[Callable[[Usage, bytes], object]] = [lambda *_: notify("READY=1")]  # for systemd
        if lock is not None:
            published.append(lambda *_: lock.keep())
        self._started: ExitStack | None = None
        self.publisher = Publisher(
            source,
            limits_of(settings),
            # The needles first: the web server's thread takes its turn of the processor.
            [broker, *(each for each in self._outlets if each is not broker), *published],
            node=settings.node,
            account=settings.account,
            clock=clock,
            watchdog=Watchdog(),
            rival=lambda: self.link.rival,
            lifetime=lifetime.total,
        )

    def start(self) -> None:
        """Start all outlets, or none; raises GaugeError."""
        with ExitStack() as started:
            for outlet in self._outlets:
                outlet.start()
                started.callback(outlet.stop)
            self._started = started.pop_all()
        self.publisher.kept = self._window.kept

    def run(self) -> None:
        """Publish until `stop` is called; starts what is not started, ends all outlets."""
        if self._started is None:
            self.start()
        with self._started or ExitStack():
            self.publisher.run()

    def stop(self) -> None:
        """End `run` soon; from any thread."""
        self.publisher.stop()

    def _settings_changed(self, settings: Settings) -> None:
        """Use what Home Assistant set: for the figures, and for the scales of the page."""
        self.publisher.set_limits(limits_of(settings))
        self._http.rescale(settings)

    def health(self) -> dict[str, Any]:
        """Return the state of the broker and of each source, for `/healthz`."""
        latest = self.publisher.latest
        return {
            "broker": {"place": self.link.endpoint.place, "connected": self.link.connected, "why": self.link.trouble},
            "sources": {name: part.model_dump() for name, part in latest.sources.items()} if latest else {},
        }


class _Broker:
    """The node's topics: its payloads, its status, its discovery."""

    def __init__(self, link: Link, settings: Settings, *, made_up: bool) -> None:
        self._link, self._topic = link, usage_topic(settings.node)
        self._home_assistant = HomeAssistant(link, settings, made_up=made_up)

    def start(self) -> None:
        self._home_assistant.start()
        self._link.start()

    def __call__(self, _usage: Usage, payload: bytes) -> None:
        self._link.announce(self._topic, payload, expiry_s=EXPIRY_S)

    def stop(self) -> None:
        self._link.stop()


class _Http:
    """The web server; once the source knows the hours before the first payload, its strip shows them."""

    def __init__(
        self, settings: Settings, assembly: Assembly, server: Server, source: Source, clock: Callable[[], float]
    ) -> None:
        self._settings, self._assembly, self._server = settings, assembly, server
        self._source, self._clock = source, clock
        self._recalls = settings.tach == "all"  # the past is available in all kinds of tokens together only
        self._shim: Shim | None = None

    def start(self) -> None:
        self._shim = serve(self._settings, self._assembly.health, server=self._server, link=self._assembly.link)

    def __call__(self, _usage: Usage, payload: bytes) -> None:
        if self._shim is None:
            return
        self._shim.push(payload)
        if self._recalls and isinstance(self._source, Remembers):
            now = self._clock()
            past = self._source.past(now - FIVE_HOURS_S, now)
            if past is not None:
                self._shim.remember(past)
                self._recalls = False

    def rescale(self, settings: Settings) -> None:
        if self._shim is not None:
            self._shim.rescale(scales_of(settings))

    def stop(self) -> None:
        if self._shim is not None:
            self._shim.stop()


def run_until_signal(settings: Settings, lock: NodeLock) -> None:
    """Publish until SIGTERM, SIGHUP (both end in good order) or Ctrl-C (exit code 130)."""
    url, embedded, which = resolve(settings)
    log.info("%s", which)
    give_back_memory()
    take_short_turns()
    try:
        until_signal(Assembly(settings, url=url, lock=lock))
    finally:
        if embedded:
            embedded.stop()


def compute_once(settings: Settings) -> Usage:
    """Read all that matters, and compute one payload."""
    source, settings = choose(settings), held(settings)
    source.load()
    now = time.time()
    return derive(source.read(now), limits_of(settings), now, node=settings.node, account=settings.account)


def publish_once(settings: Settings) -> str:
    """Compute one payload, publish it, and return it as JSON; without any broker it is only returned.

    Raises GaugeError where the broker that was named is not there, or where one did not take it.
    """
    payload, topic = compute_once(settings).to_json(), usage_topic(settings.node)
    with Retained(settings, topic) as retained:
        try:
            retained.connect()
        except GaugeError as error:
            if settings.broker:
                raise GaugeError(f"{error}; nothing was published") from None
            log.warning("%s; printed only", error)
        else:
            retained.write({topic: payload}, expiry_s=EXPIRY_S)
            if (
                retained.link.keeps_retained and (lost := retained.not_kept(topic, payload)).what
            ):  # else the link says it
                log.warning("%s", lost)
    return payload.decode()
