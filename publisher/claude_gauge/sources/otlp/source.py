"""Direct OTLP as a source: Claude Code's telemetry without a collector or Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Health, Reading
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.feed import OtlpFeed
from claude_gauge.system.http.server import Server

NAME = "otlp"
DAY_S = 86400.0


class Otlp:
    """Counts what Claude Code, on this machine or another, sends to `settings.otlp`; `clock` gives epoch seconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, server: Server | None = None
    ) -> None:
        self._counter = OtlpCounter()
        self._lock = threading.Lock()
        self._feed = OtlpFeed(settings, counter=lambda: self._counter, lock=self._lock, server=server, clock=clock)
        self._read_at = 0.0

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._feed.port

    def start(self, changed: Callable[[], None]) -> None:
        """Load what earlier runs were told, then listen; raises GaugeError where the address can't be had."""
        self._feed.start(changed)

    def load(self) -> None:
        """Read what earlier runs were told, without listening."""
        self._feed.load()

    def read(self, now: float) -> Reading:
        """Tell what is counted so far."""
        if now < self._read_at - DAY_S:
            self._counter = OtlpCounter()  # in that future, what is present now was old and forgotten
        self._read_at = now
        self._feed.settle(now)
        with self._lock:
            self._counter.tidy(now)
            traffic = self._counter.traffic(now)
            block, week = self._counter.block(now), self._counter.week(now)
        silent = Health(NAME, ok=traffic.newest_at is not None, why="" if traffic.newest_at else "nothing received yet")
        return Reading(
            traffic=replace(traffic, thinking="unknown"),
            block=block,
            week_tokens=week,
            sources={
                "tach": silent,
                "fuel": silent,
                "thinking": Health(NAME, ok=False, why="no thinking in telemetry", degraded=True),
            },
        )

    def due(self, now: float) -> float | None:
        """Tell when a sum changes by the passing of time."""
        with self._lock:
            counter = self._counter.due(now)
        return min((time for time in (counter, self._feed.due()) if time is not None), default=None)

    def stop(self) -> None:
        """Stop listening."""
        self._feed.stop()
