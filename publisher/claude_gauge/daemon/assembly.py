"""Puts a running publisher together from the settings: source, loop, and everyone who shows its payloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from claude_gauge.config import Settings
from claude_gauge.contract.usage import EXPIRY_S, Usage, status_topic, usage_topic
from claude_gauge.counting.derive import Limits
from claude_gauge.counting.reading import Remembers, Source
from claude_gauge.daemon.kept_window import KeptWindow
from claude_gauge.daemon.publisher import Publisher
from claude_gauge.daemon.systemd import Watchdog, notify
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.alerts.outlet import Alerts
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.outlets.web.shim import serve
from claude_gauge.sources.select import choose
from claude_gauge.system.http.server import Server


def limits_of(settings: Settings) -> Limits:
    """Return what the figures are held against."""
    return Limits(
        ceiling_5h=settings.ceiling_5h,
        redline=settings.redline,
        stall_s=settings.stall_minutes * 60,
        cache_floor=settings.cache_floor,
        tach=settings.tach,
    )


class Assembly:
    """A publisher with all its outlets; `run` until `stop`."""

    def __init__(
        self,
        settings: Settings,
        *,
        url: str | None = None,
        source: Source | None = None,
        clock: Callable[[], float] = time.time,
        leaves_nothing: bool = False,
    ) -> None:
        self._topic = usage_topic(settings.node)
        self.link = Link(settings, status=status_topic(settings.node), url=url, leaves_nothing=leaves_nothing)
        HomeAssistant(self.link, settings).start()
        self._alerts = Alerts(settings, self.link, clock=clock)
        self._window = KeptWindow(settings.state_dir, settings.node, settings.account)
        server = Server()  # one for all addresses
        self._source = source or choose(settings, clock=clock, server=server)
        self._clock = clock
        self._recalls = settings.tach == "all"  # the past is known in all kinds of tokens together
        self.publisher = Publisher(
            self._source,
            limits_of(settings),
            [self._to_broker, self._to_http, self._alerts, self._window, self._to_systemd],
            node=settings.node,
            account=settings.account,
            kept=self._window.load(clock()),
            clock=clock,
            watchdog=Watchdog(),
        )
        self.shim = serve(settings, self.health, server=server, link=self.link)

    def run(self) -> None:
        """Publish until `stop` is called."""
        self.link.start()
        try:
            self.publisher.run()
        finally:
            self._alerts.stop()
            self._window.stop()
            self.link.stop()
            if self.shim:
                self.shim.stop()

    def stop(self) -> None:
        """End `run` soon; safe in a signal handler."""
        self.publisher.stop()

    def health(self) -> dict[str, Any]:
        """Tell how each link of the chain is."""
        latest = self.publisher.latest
        return {
            "broker": {"place": self.link.endpoint.place, "connected": self.link.connected, "why": self.link.trouble},
            "sources": {name: part.model_dump() for name, part in latest.sources.items()} if latest else {},
        }

    def _to_http(self, _usage: Usage, payload: bytes) -> None:
        if self.shim is None:
            return
        self.shim.push(payload)
        if self._recalls and isinstance(self._source, Remembers):
            past = self._source.past(self._clock())
            if past is not None:
                self.shim.remember(past)
                self._recalls = False

    def _to_broker(self, _usage: Usage, payload: bytes) -> None:
        self.link.announce(self._topic, payload, expiry_s=EXPIRY_S)

    def _to_systemd(self, _usage: Usage, _payload: bytes) -> None:
        notify("READY=1")
