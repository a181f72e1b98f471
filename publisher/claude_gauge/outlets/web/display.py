"""The page on a machine that publishes nothing: a wall display that shows what a broker tells."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.web.shim import OFF, serve


class Display:
    """Serves the page with every node that the broker tells of; `run` until `stop`."""

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
        """End `run` soon; safe in a signal handler."""
        self._ended.set()

    def _health(self) -> Mapping[str, Any]:
        link = self._link
        return {"broker": {"place": link.endpoint.place, "connected": link.connected, "why": link.trouble}}
