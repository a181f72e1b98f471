"""The launchd agent for macOS; pure."""

from __future__ import annotations

import plistlib
from pathlib import Path

from claude_gauge.apps.service.job import LABEL, Job


def agent(job: Job, logs: Path) -> bytes:
    """Write the agent's property list; it runs at login and again whenever it fails."""
    return plistlib.dumps(
        {
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
    )


def file_name() -> str:
    """Name of the agent's file."""
    return f"{LABEL}.plist"
