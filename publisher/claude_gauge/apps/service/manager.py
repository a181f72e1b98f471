"""Puts the service in and takes it out again, by the system's own commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from claude_gauge.apps.service import launchd_agent, systemd_unit
from claude_gauge.apps.service.job import LABEL, Job
from claude_gauge.errors import GaugeError


class Systemd:
    """The person's own systemd."""

    def __init__(self, home: Path) -> None:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        self.path = base / "systemd" / "user" / systemd_unit.file_name()

    def definition(self, job: Job) -> str:
        """Return what would be installed."""
        return systemd_unit.unit(job)

    def install(self, job: Job) -> None:
        """Write the unit, start it now and at every login."""
        job.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(self.path, self.definition(job).encode())
        _run("systemctl", "--user", "daemon-reload")
        _run("systemctl", "--user", "enable", LABEL)
        _run("systemctl", "--user", "restart", LABEL)

    def uninstall(self) -> None:
        """Stop it and remove the unit."""
        if self.path.exists():
            _run("systemctl", "--user", "disable", "--now", LABEL)
            self.path.unlink()
            _run("systemctl", "--user", "daemon-reload")

    def status(self) -> int:
        """Show how it is."""
        return _show("systemctl", "--user", "--no-pager", "status", LABEL)

    def logs(self) -> int:
        """Show what it said lately."""
        return _show("journalctl", "--user", "--no-pager", "--lines", "100", "--unit", LABEL)


class Launchd:
    """The person's own launchd."""

    def __init__(self, home: Path) -> None:
        self.path = home / "Library" / "LaunchAgents" / launchd_agent.file_name()
        self._logs = home / "Library" / "Logs"
        self._domain = f"gui/{os.getuid()}"

    def definition(self, job: Job) -> str:
        """Return what would be installed."""
        return launchd_agent.agent(job, self._logs).decode()

    def install(self, job: Job) -> None:
        """Write the agent, start it now and at every login."""
        self.uninstall()
        _write(self.path, self.definition(job).encode())
        _run("launchctl", "bootstrap", self._domain, str(self.path))

    def uninstall(self) -> None:
        """Stop it and remove the agent."""
        if self.path.exists():
            _show("launchctl", "bootout", f"{self._domain}/{LABEL}")
            self.path.unlink()

    def status(self) -> int:
        """Show how it is."""
        return _show("launchctl", "print", f"{self._domain}/{LABEL}")

    def logs(self) -> int:
        """Show what it said lately."""
        return _show("tail", "-n", "100", str(self._logs / "claude-gauge.log"))


def manager(platform: str = sys.platform, home: Path | None = None) -> Systemd | Launchd:
    """Return this system's manager of services."""
    home = home or Path.home()
    return Launchd(home) if platform == "darwin" else Systemd(home)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


def _run(*command: str) -> None:
    _there(command)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise GaugeError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.returncode}")


def _show(*command: str) -> int:
    _there(command)
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own words


def _there(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise GaugeError(
            f"{command[0]} is not on this system; run `claude-gauge publish` from what starts your programs instead "
            "(`claude-gauge service install --print` shows the definition)"
        )
