"""Builds the source that `--source` names, and beside it the source of the plan's own figures.

Only what is used is imported: a publisher that follows transcripts starts without an HTTP client.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from claude_gauge.claude_code.folders import transcript_roots
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.sources.failover import Failover
from claude_gauge.sources.source import Source
from claude_gauge.sources.statusline.source import Plan
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.system.http.server import Server

if TYPE_CHECKING:
    from claude_gauge.sources.ccusage.source import BlockSource

log = logging.getLogger(__name__)
Clock = Callable[[], float]
Order = Mapping[str, Sequence[str]]


def choose(
    settings: Settings,
    *,
    roots: Sequence[Path] | None = None,
    clock: Clock = time.time,
    server: Server | None = None,
) -> Failover:
    """Build the source that the settings name; nothing is started. OTLP listens on `server`."""
    return _Builder(settings, transcript_roots() if roots is None else roots, clock, server or Server()).build()


class _Builder:
    def __init__(self, settings: Settings, roots: Sequence[Path], clock: Clock, server: Server) -> None:
        self._settings, self._roots, self._clock, self._server = settings, roots, clock, server
        self._plan = Plan(settings, clock)
        self._sources: dict[str, Source] = {"plan": self._plan}

    def build(self) -> Failover:
        make = {
            "auto": self._auto,
            "hybrid": self._hybrid,
            "transcripts": lambda: self._alone(self._local()),
            "otlp": lambda: self._alone(self._otlp()),
            "prometheus": lambda: self._alone(self._prometheus()),
            "ccusage": self._ccusage,
            "ccusage-mcp": self._ccusage_mcp,
        }
        order = make[self._settings.source]()
        log.info("sources: %s", "; ".join(f"{part} from {' or '.join(names)}" for part, names in order.items()))
        return Failover(self._sources, order, self._clock)

    def _alone(self, name: str) -> Order:
        return {"tach": [name], "fuel": [name]}

    def _auto(self) -> Order:
        """Take the best that answers: exact and at once, then exact and late, then another reader of the same files."""
        names = [self._local()]
        if self._settings.prometheus is not None:
            names.append(self._prometheus())
        return {"tach": names, "fuel": [*names, *self._installed_ccusage(names[0])]}

    def _hybrid(self) -> Order:
        """Take the tach from this machine's files, and fuel from Prometheus, ccusage or OTLP: the named one first."""
        named = self._settings
        fuel = [] if self._settings.prometheus is None else [self._prometheus()]
        local = self._local()
        ccusage = self._installed_ccusage(local)
        tach = [local, *fuel]
        fuel += [local, *ccusage] if named.otlp is not None and named.ccusage is None else [*ccusage, local]
        return {"tach": tach, "fuel": fuel}

    def _ccusage(self) -> Order:
        """Take fuel from ccusage, the tach from the transcripts."""
        from claude_gauge.sources.ccusage.source import command_line

        local = self._local()
        return {"tach": [local], "fuel": [self._asking("ccusage", command_line(self._settings), local)]}

    def _ccusage_mcp(self) -> Order:
        from claude_gauge.sources.ccusage.mcp_wire import connection

        local = self._local()
        return {"tach": [local], "fuel": [self._asking("ccusage-mcp", connection(self._settings), local)]}

    def _local(self) -> str:
        denied = self._plan.denied  # a transcript has "No" and Escape, for which no hook fires
        if self._settings.receives_otlp:
            from claude_gauge.sources.transcripts_otlp import TranscriptsOtlp

            return self._add(
                "transcripts+otlp",
                TranscriptsOtlp(self._settings, self._roots, self._clock, self._server, denied=denied),
            )
        return self._add("transcripts", Transcripts(self._roots, self._clock, denied=denied))

    def _prometheus(self) -> str:
        from claude_gauge.sources.prometheus.source import Prometheus

        return self._add("prometheus", Prometheus(self._settings, self._clock))

    def _otlp(self) -> str:
        from claude_gauge.sources.otlp.feed import Otlp

        if self._settings.otlp == "off":
            raise GaugeError("source otlp with --otlp off: nothing to read; give an address, such as 127.0.0.1:4318")
        return self._add("otlp", Otlp(self._settings, self._clock, self._server))

    def _installed_ccusage(self, local: str) -> list[str]:
        """Add ccusage where it is installed: nothing is ever downloaded unasked."""
        from claude_gauge.sources.ccusage.command import CcusageError, find

        try:
            find(self._settings.ccusage, os.environ, download=False)
        except CcusageError as error:
            if self._settings.ccusage is not None:
                log.warning("%s", error)
            return []
        from claude_gauge.sources.ccusage.source import command_line

        return [self._asking("ccusage", command_line(self._settings, download=False), local)]

    def _asking(self, name: str, asked: BlockSource, local: str) -> str:
        """Add a source that is asked only when the transcripts were written to."""
        from claude_gauge.sources.ccusage.source import Ccusage

        transcripts = self._sources[local]

        def news() -> object:
            traffic = transcripts.read(self._clock()).traffic
            return traffic.newest_at if traffic else None

        return self._add(name, Ccusage(asked, name, news, self._clock))

    def _add(self, name: str, source: Source) -> str:
        self._sources[name] = source
        return name
