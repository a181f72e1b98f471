"""The environment variables for exact telemetry, and how they are added to settings.json and removed.

Temporality is delta: each export holds what was added since the last one. A resumed session begins its sums at zero
again under the same session id, so that sums (cumulative) lose what the earlier process counted; the collector's
`deltatocumulative` processor and `--source otlp` add deltas up exactly. Sums are right for a receiver that takes no
deltas (Prometheus's own), and for `--source otlp`, which then gets what was used while it was down.

Without session ids two sessions would write to one series in turns. No query can correct either afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from claude_gauge.errors import GaugeError
from claude_gauge.system import atomic_file

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS_HELPER = "otelHeadersHelper"  # a setting beside `env`: a program that makes headers for the endpoint
DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
_ALWAYS = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRICS_INCLUDE_SESSION_ID": "true",
    "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    "OTEL_LOGS_EXPORT_INTERVAL": "1000",
}
_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
# What outranks the general names (an endpoint or a protocol per signal) or rides along (headers, certificates).
_RIVAL = re.compile(r"OTEL_SDK_DISABLED|OTEL_EXPORTER_OTLP_(?!TRACES_)\w+")


class Temporality(StrEnum):
    """What each export of a metric holds: what was added since the last one, or the sum since the process began."""

    DELTA = "delta"
    CUMULATIVE = "cumulative"


def variables(endpoint: str = DEFAULT_ENDPOINT, temporality: Temporality = Temporality.DELTA) -> dict[str, str]:
    """Return what Claude Code's environment should hold."""
    return {**_ALWAYS, _TEMPORALITY: str(temporality), ENDPOINT: endpoint}


def exports(wanted: Mapping[str, str]) -> str:
    """Write it for a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in wanted.items())


def rivals(env: Mapping[str, Any], wanted: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """List the variables that differ from the wanted ones or override them; our own entries do not count."""
    return [
        name
        for name, value in env.items()
        if (name in wanted or _RIVAL.fullmatch(name)) and _text(value) != wanted.get(name) and value != ours.get(name)
    ]


def _text(value: object) -> str:
    """Return a value as Claude Code puts it into the environment: 10000 is "10000", true is "true"."""
    return value if isinstance(value, str) else json.dumps(value)


def put_in(content: dict[str, Any], wanted: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, Any]:
    """Set the settings' `env` as wanted; remove what would override it."""
    env = environment(content)
    gone = {*rivals(env, wanted, ours), *ours} - wanted.keys()
    return {**content, "env": {**{name: value for name, value in env.items() if name not in gone}, **wanted}}


def take_out(content: dict[str, Any], ours: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """Remove our values if unchanged, and restore the values before."""
    env = environment(content)
    present = {name for name, value in ours.items() if env.get(name) == value}
    kept = {
        name: before[name] if name in present else value
        for name, value in env.items()
        if name not in present or name in before
    }
    back = {name: value for name, value in before.items() if name not in ours and name not in env}
    return without_empty({**content, "env": {**kept, **back}}) if "env" in content else content


def without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """Leave an `env` out that holds nothing."""
    return content if environment(content) else {key: value for key, value in content.items() if key != "env"}


def environment(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings' `env`; raises GaugeError where it is no object."""
    env = content.get("env", {})
    if not isinstance(env, dict):
        raise GaugeError("env is no object of names and values; correct it first")
    return env


class Record:
    """Remembers in the state folder what was put into which settings file, and what that replaced.

    otel.json: settings file -> {"ours": {name: value}, "before": {name: value}}.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir.expanduser() / "otel.json"

    def of(self, settings: Path) -> tuple[dict[str, str], dict[str, Any]]:
        """Return our values in a settings file and those they replaced; empty if nothing is recorded."""
        entries = self._read()
        entry = entries.get(os.path.realpath(settings)) or entries.get(str(settings))
        parts = [entry.get(name) if isinstance(entry, dict) else None for name in ("ours", "before")]
        ours, before = (part if isinstance(part, dict) else {} for part in parts)
        return ours, before

    def keep(self, settings: Path, ours: Mapping[str, str], env: Mapping[str, Any], gone: Iterable[str]) -> None:
        """Remember an installation: our values, and those of the environment `env` that they replace (`gone`)."""
        own, first = self.of(settings)
        replaced = {name: env[name] for name in (*ours, *gone) if name in env and env[name] != own.get(name)}
        entry = {"ours": dict(ours), "before": {**first, **replaced}}
        self._write({**self._others(settings), os.path.realpath(settings): entry})

    def forget(self, settings: Path) -> None:
        """Forget an installation."""
        self._write(self._others(settings))

    def _others(self, settings: Path) -> dict[str, Any]:
        names = {str(settings), os.path.realpath(settings)}
        return {path: entry for path, entry in self._read().items() if path not in names}

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(atomic_file.read(self._path))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise GaugeError(f"cannot read {self._path}: {why}; correct it, or move it away") from None
        return content if isinstance(content, dict) else {}

    def _write(self, content: Mapping[str, Any]) -> None:
        try:
            atomic_file.replace(self._path, json.dumps(content, indent=1).encode())
        except OSError as error:
            raise GaugeError(f"cannot write {self._path}: {error.strerror}; nothing was changed") from None
