"""Prometheus, or any engine that speaks its API, as a source: one round of questions per scrape interval."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block, Health, Reading
from claude_gauge.sources.prometheus.client import TIMEOUT_S, PrometheusClient
from claude_gauge.sources.prometheus.poll import Figures, Poll
from claude_gauge.sources.prometheus.response import TroubleError

_log = logging.getLogger(__name__)
NAME = "prometheus"
NO_THINKING = "metrics tell no thinking"
FIRST_S = 2.0  # what the first payload waits for at most


class Prometheus:
    """Asks in a thread of its own; what it knows stays when the engine is away, and health says so."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._engine = PrometheusClient(settings, timeout_s, clock)
        self._rounds = Poll(self._engine, settings.prometheus_match, settings.prometheus_interval)
        self._interval_s = settings.prometheus_interval
        self._clock = clock
        self._figures: Figures | None = None
        self._health = Health(NAME, ok=False, why="not asked yet")
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to ask; returns after the first answer, two seconds at most."""
        self._changed = changed
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()
        self._asked.wait(FIRST_S)

    def load(self) -> None:
        """Ask once, now, without a thread."""
        self._round()
        self._engine.close()

    def read(self, now: float) -> Reading:
        """Tell what the newest answered round told."""
        with self._lock:
            figures, health = self._figures, self._health
        sources = {"tach": health, "fuel": health, "thinking": Health(NAME, ok=False, why=NO_THINKING, degraded=True)}
        if figures is None:
            return Reading(sources=sources)
        over = figures.block.end is not None and now >= figures.block.end
        return Reading(
            traffic=figures.traffic,
            block=Block() if over else figures.block,
            week_tokens=figures.week,
            sources=sources,
        )

    def due(self, now: float) -> float | None:
        """Tell when the block ends: nothing else changes between rounds."""
        with self._lock:
            end = self._figures.block.end if self._figures else None
        return end if end is not None and end > now else None

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._round()
            self._asked.set()
            self._stopping.wait(max(0.0, self._interval_s - (time.monotonic() - begun)))
        self._engine.close()

    def _round(self) -> None:
        figures = None
        try:
            figures = self._rounds.take(self._clock())
            health = _health(figures)
        except TroubleError as trouble:
            health = Health(NAME, ok=False, why=trouble.why)
        except Exception:  # nothing may end the asking: told in full, then it goes on
            _log.exception("asking Prometheus failed; going on with the next round")
            health = Health(NAME, ok=False, why="internal error, see the log")
        with self._lock:
            if figures is not None and figures.partial and self._figures is not None:
                figures = None  # what is missing would make the needles dip
            news = health != self._health or (figures is not None and figures != self._figures)
            if health != self._health:
                _log.log(logging.INFO if health.ok else logging.WARNING, "Prometheus: %s", health.why or "answers")
            self._health = health
            self._figures = figures or self._figures
        if news:
            self._changed()


def _health(figures: Figures) -> Health:
    if figures.partial:
        return Health(NAME, ok=False, why="answer is partial")
    if not figures.seen:
        return Health(NAME, ok=False, why="no Claude Code metrics")
    if figures.shared:
        return Health(NAME, ok=False, why="sessions share a series", degraded=True)
    if figures.anonymous:
        return Health(NAME, ok=False, why="no session ids: inexact", degraded=True)
    return Health(NAME)
