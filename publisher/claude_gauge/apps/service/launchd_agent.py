"""The launchd agent for macOS; pure."""

from __future__ import annotations

import plistlib
from pathlib import Path

from claude_gauge.apps.service.job import LABEL, Job
from claude_gauge.errors import GaugeError


def agent(job: Job, logs: Path) -> bytes:
    """Write the agent's property list: it runs at login and again whenever it fails; raises GaugeError."""
    try:
        return plistlib.dumps(_properties(job, logs))
    except ValueError:
        raise GaugeError("a setting holds a line break or the like: launchd takes no such text") from None


def _properties(job: Job, logs: Path) -> dict[str, object]:
    return {
        "Label": LABEL,
        "ProgramArguments": list(job.command),
        "EnvironmentVariables": dict(job.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardErrorPath": str(logs / "claude-gauge.log"),
    }


def file_name() -> str:
    """Name of the agent's file."""
    return f"{LABEL}.plist"
