"""The source that `--source` names, built; with the plan's own figures beside it, whatever it is."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from claude_gauge.config import Settings
from claude_gauge.reading import Source
from claude_gauge.sources.ccusage import Ccusage, command_line
from claude_gauge.sources.ccusage_command import CcusageError, find
from claude_gauge.sources.joint import Joint
from claude_gauge.sources.merged import Merged
from claude_gauge.sources.otlp import Otlp
from claude_gauge.sources.plan import Plan
from claude_gauge.sources.prometheus import Prometheus
from claude_gauge.sources.roots import transcript_roots
from claude_gauge.sources.transcripts import Transcripts

_log = logging.getLogger(__name__)

Clock = Callable[[], float]


def choose(settings: Settings, *, roots: Sequence[Path] | None = None, clock: Clock = time.time) -> Merged:
    """Build the source that the settings name; nothing is started."""
    return _Builder(settings, transcript_roots() if roots is None else roots, clock).build()


class _Builder:
    def __init__(self, settings: Settings, roots: Sequence[Path], clock: Clock) -> None:
        self._settings, self._roots, self._clock = settings, roots, clock
        self._sources: dict[str, Source] = {"plan": Plan(settings, clock)}

    def build(self) -> Merged:
        make = {
            "auto": self._auto,
            "hybrid": self._hybrid,
            "transcripts": lambda: self._alone("transcripts", Transcripts(self._roots, self._clock)),
            "otlp": lambda: self._alone("otlp", Otlp(self._settings, self._clock)),
            "prometheus": lambda: self._alone("prometheus", Prometheus(self._settings, self._clock)),
            "ccusage": self._ccusage,
            "ccusage-mcp": self._ccusage_mcp,
        }
        order = make[self._settings.source]()
        _log.info("sources: %s", "; ".join(f"{part} from {' or '.join(names)}" for part, names in order.items()))
        return Merged(self._sources, order)

    def _alone(self, name: str, source: Source) -> Mapping[str, Sequence[str]]:
        self._sources[name] = source
        return {"tach": [name], "fuel": [name]}

    def _auto(self) -> Mapping[str, Sequence[str]]:
        """Take the best that answers: exact and at once, then exact and late, then another reader of the same files."""
        names = [self._local(listen="otlp" in self._settings.model_fields_set)]
        if self._settings.prometheus is not None:
            names.append(self._add("prometheus", Prometheus(self._settings, self._clock)))
        return {"tach": names, "fuel": [*names, *self._installed_ccusage()]}

    def _hybrid(self) -> Mapping[str, Sequence[str]]:
        """Tach from what is here, in milliseconds; fuel from Prometheus, ccusage or OTLP, what was named first."""
        named = self._settings.model_fields_set
        fuel: list[str] = []
        if self._settings.prometheus is not None:
            fuel.append(self._add("prometheus", Prometheus(self._settings, self._clock)))
        # Beside Prometheus the usual port is the collector's.
        local = self._local(listen="otlp" in named or not fuel)
        ccusage = self._installed_ccusage()
        fuel += [local, *ccusage] if "otlp" in named and "ccusage" not in named else [*ccusage, local]
        return {"tach": [local, *(name for name in fuel if name == "prometheus")], "fuel": fuel}

    def _ccusage(self) -> Mapping[str, Sequence[str]]:
        """Take fuel from ccusage, the tach from the transcripts."""
        local = self._add("transcripts", Transcripts(self._roots, self._clock))
        asked = command_line(self._settings)
        return {
            "tach": [local],
            "fuel": [self._add("ccusage", Ccusage(asked, news=self._news(local), clock=self._clock))],
        }

    def _ccusage_mcp(self) -> Mapping[str, Sequence[str]]:
        from claude_gauge.sources.ccusage_mcp import NAME, connection  # noqa: PLC0415 - legacy, loaded for those who ask

        local = self._add("transcripts", Transcripts(self._roots, self._clock))
        asked = connection(self._settings)
        return {"tach": [local], "fuel": [self._add(NAME, Ccusage(asked, NAME, self._news(local), self._clock))]}

    def _local(self, *, listen: bool) -> str:
        if listen and self._settings.otlp != "off":
            return self._add("transcripts+otlp", Joint(self._settings, self._roots, self._clock))
        return self._add("transcripts", Transcripts(self._roots, self._clock))

    def _installed_ccusage(self) -> list[str]:
        """Add ccusage where it is installed: nothing is ever downloaded unasked."""
        try:
            find(self._settings.ccusage, os.environ, download=False)
        except CcusageError as error:
            if self._settings.ccusage is not None:
                _log.warning("%s", error)
            return []
        local = next(name for name in self._sources if name.startswith("transcripts"))
        asked = command_line(self._settings, download=False)
        return [self._add("ccusage", Ccusage(asked, news=self._news(local), clock=self._clock))]

    def _news(self, name: str) -> Callable[[], object]:
        """Tell when the transcripts were last written to: while that stays, ccusage has nothing new to say."""
        source = self._sources[name]

        def newest() -> object:
            traffic = source.read(self._clock()).traffic
            return traffic.newest_at if traffic else None

        return newest

    def _add(self, name: str, source: Source) -> str:
        self._sources[name] = source
        return name
