"""Transcripts and OTLP in one counter: each response once, shown as soon as the first of them reports it.

Transcripts have thinking and every session of this machine; OTLP adds what they lack: compaction, containers,
other machines. Of a session whose transcript is here, metrics are ignored and events are matched with its lines.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Health, Reading, earliest
from claude_gauge.counting.turn import Denial
from claude_gauge.errors import GaugeError
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.feed import OtlpFeed
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.system.http.server import Server

log = logging.getLogger(__name__)
NAME = "transcripts+otlp"
LISTEN_AGAIN_S = 30.0
LOOK_AGAIN_S = 30.0
_SESSION = re.compile(r"[0-9A-Za-z-]{1,64}")


class LocalSessions:
    """Knows which sessions have a transcript below `roots`."""

    def __init__(self, roots: Sequence[Path], clock: Callable[[], float]) -> None:
        self._roots, self._clock = roots, clock
        self._sessions: dict[str, tuple[bool, float]] = {}

    def __call__(self, session: str) -> bool:
        """Look once for one that is there, and now and then for one that is not."""
        if not _SESSION.fullmatch(session):
            return True  # metrics that name no session can't be matched with transcripts: they are taken for known
        present, looked_at = self._sessions.get(session, (False, -LOOK_AGAIN_S))
        now = self._clock()
        if not present and abs(now - looked_at) >= LOOK_AGAIN_S:
            present = any(True for root in self._roots for _ in root.glob(f"*/{session}.jsonl"))
            self._sessions[session] = present, now
        return present


class TranscriptsOtlp:
    """Transcripts below `roots` and what is sent to `settings.otlp`, counted together."""

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[Path],
        clock: Callable[[], float] = time.time,
        server: Server | None = None,
        *,
        denied: Callable[[Denial], None] | None = None,
    ) -> None:
        lock = threading.Lock()
        self._counter = OtlpCounter()
        self._transcripts = Transcripts(roots, clock, fresh=self._fresh, lock=lock, denied=denied)
        self._feed = OtlpFeed(
            settings,
            counter=lambda: self._counter,
            lock=lock,
            server=server,
            counted_elsewhere=LocalSessions(roots, clock),
            clock=clock,
        )
        self._not_listening = ""
        self._stopping = threading.Event()
        self._retry: threading.Thread | None = None

    def _fresh(self) -> OtlpCounter:
        self._counter = OtlpCounter()
        return self._counter

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._feed.port

    def start(self, changed: Callable[[], None]) -> None:
        """Start both; without its port OTLP is tried again, the transcripts never wait for it."""
        self._listen(changed)
        self._transcripts.start(changed)
        if self._not_listening:
            self._retry = threading.Thread(target=self._listen_again, args=(changed,), name="otlp-retry", daemon=True)
            self._retry.start()

    def load(self) -> None:
        """Read what is there now."""
        self._feed.load()
        self._transcripts.load()

    def read(self, now: float) -> Reading:
        """Return what is counted so far."""
        self._feed.settle(now)
        reading = self._transcripts.read(now)
        seen = reading.traffic is not None and reading.traffic.newest_at is not None
        thinking = reading.sources["thinking"]
        sources = {part: self._health(reading.sources[part], seen=seen) for part in ("tach", "fuel")}
        # OTLP has no thinking: without transcripts it is unknown, without OTLP it is exact.
        well = replace(thinking, source=NAME, degraded=not thinking.ok and (thinking.degraded or seen))
        return replace(reading, sources={**sources, "thinking": well})

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return each minute's tokens, None until all of them are read."""
        return self._transcripts.past(since, now)

    def due(self, now: float) -> float | None:
        """Return when a sum changes by the passing of time."""
        return earliest(self._transcripts.due(now), self._feed.due())

    def stop(self) -> None:
        """Stop both."""
        self._stopping.set()
        self._feed.stop()
        self._transcripts.stop()
        if self._retry is not None:
            self._retry.join(5)

    def _health(self, health: Health, *, seen: bool) -> Health:
        if health.ok:
            why = self._not_listening or self._feed.left_out
            return replace(health, source=NAME, ok=not why, why=why, degraded=bool(why))
        # Without transcripts OTLP may still report everything.
        return replace(health, source=NAME, degraded=health.degraded or (seen and not self._not_listening))

    def _listen(self, changed: Callable[[], None]) -> None:
        try:
            self._feed.start(changed)
        except GaugeError as error:
            if not self._not_listening:
                log.warning("%s; counting transcripts alone until it is free", error)
            self._not_listening = "otlp port is taken"
        else:
            self._not_listening = ""

    def _listen_again(self, changed: Callable[[], None]) -> None:
        while self._not_listening and not self._stopping.wait(LISTEN_AGAIN_S):
            self._listen(changed)
        changed()
