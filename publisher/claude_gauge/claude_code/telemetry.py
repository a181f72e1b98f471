"""The environment in which Claude Code's telemetry counts right, and its way into settings.json and out; pure.

Left alone, Claude Code exports deltas: a collector's Prometheus exporter shows the last one in place of the sum. And
without session ids two sessions write to one series in turns. No query can mend either afterwards.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
_ALWAYS = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
    "OTEL_METRICS_INCLUDE_SESSION_ID": "true",
    "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    "OTEL_LOGS_EXPORT_INTERVAL": "1000",
}


def variables(endpoint: str = DEFAULT_ENDPOINT) -> dict[str, str]:
    """Return what Claude Code's environment should hold."""
    return {**_ALWAYS, ENDPOINT: endpoint}


def exports(endpoint: str = DEFAULT_ENDPOINT) -> str:
    """Write it for a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables(endpoint).items())


def conflicts(content: Mapping[str, Any], wanted: Mapping[str, str]) -> list[str]:
    """Name what settings.json sets otherwise already: somebody's telemetry may go somewhere else."""
    env = _env(content)
    return [name for name, value in wanted.items() if name in env and str(env[name]) != value]


def put_in(content: dict[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Add it to the settings' `env`."""
    return {**content, "env": {**_env(content), **wanted}}


def replaced(content: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return what stood there before, to be given back one day."""
    return {name: value for name, value in _env(content).items() if name in wanted}


def take_out(content: dict[str, Any], ours: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """Take out what is still ours, and give back what stood there before."""
    env = dict(_env(content))
    for name, value in ours.items():
        if env.get(name) == value:
            env.pop(name)
            if name in before:
                env[name] = before[name]
    rest = {key: value for key, value in content.items() if key != "env"}
    return {**content, "env": env} if env else rest


def _env(content: Mapping[str, Any]) -> Mapping[str, Any]:
    env = content.get("env", {})
    return env if isinstance(env, dict) else {}
