"""Installs and removes the service with the system's own commands: systemctl (Linux) or launchctl (macOS)."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from claude_gauge.apps.service.job import LABEL, Job, agent, unit
from claude_gauge.errors import AlreadyPublishingError, GaugeError
from claude_gauge.system.atomic_file import replace

UNCONFINED = (
    "This system forbids user namespaces: the service runs without PrivateUsers, PrivateDevices, "
    "CapabilityBoundingSet, ProtectClock, ProtectKernelLogs and ProtectKernelModules."
)
BY_HAND = (
    "run `claude-gauge publish` from what starts your programs instead "
    "(`claude-gauge service install --print` shows the definition)"
)
# Exit codes of systemd's own: it could not make the user, capability, namespace or device settings of a unit.
SET_UP_FAILED = frozenset({"217", "218", "226", "228", "230", "237", "238"})


class Systemd:
    """The person's own systemd."""

    def __init__(self, home: Path) -> None:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        self.path = base / "systemd" / "user" / f"{LABEL}.service"

    def definition(self, job: Job) -> str:
        """Return what would be installed."""
        return unit(job)

    def install(self, job: Job) -> list[str]:
        """Write the unit, start it now and at every login; return what a person should know."""
        _require_runnable(Path(job.command[0]))
        if self.path.is_symlink() and os.path.realpath(self.path) == os.devnull:
            raise GaugeError(f"the service is masked; `systemctl --user unmask {LABEL}` takes that back")
        job.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        notes = [] if self._starts(job, confined=True) else self._install_unconfined(job)
        return notes + _linger()

    def _install_unconfined(self, job: Job) -> list[str]:
        if not self._starts(job, confined=False):
            raise self._did_not_start()
        return [UNCONFINED]

    def _did_not_start(self) -> GaugeError:
        status = self._property("ExecMainStatus")
        if status == str(AlreadyPublishingError.exit_code):
            return GaugeError("another publisher has this node already: stop it, or give the service another --node")
        what = f"{self._property('Result')} {status}"
        advice = "`claude-gauge service logs` says why; `claude-gauge service uninstall` removes it"
        return GaugeError(f"the service did not start ({what}): {advice}")

    def _starts(self, job: Job, *, confined: bool) -> bool:
        """Write and start it; False where systemd could not even set it up, and less may work."""
        before = self.path.exists()
        _write(self.path, unit(job, confined=confined).encode())
        try:
            _run("systemctl", "--user", "daemon-reload")
        except GaugeError:
            if not before:
                self.path.unlink()
            raise
        _run("systemctl", "--user", "enable", LABEL)
        try:
            _run("systemctl", "--user", "restart", LABEL)
        except GaugeError:
            status = self._property("ExecMainStatus")
            if status not in SET_UP_FAILED and status not in {"", "0"}:
                raise self._did_not_start() from None
            if status not in SET_UP_FAILED or not confined:
                raise
            _run("systemctl", "--user", "stop", LABEL)
            _run("systemctl", "--user", "reset-failed", LABEL)
            return False
        return True

    def _property(self, what: str) -> str:
        command = ("systemctl", "--user", "show", "--value", "--property", what, LABEL)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - ours

    def uninstall(self) -> None:
        """Stop it and remove the unit."""
        _require_installed(self.path)
        _run("systemctl", "--user", "disable", "--now", LABEL)
        self.path.unlink()
        _run("systemctl", "--user", "daemon-reload")

    def status(self) -> int:
        """Show whether it runs, as systemctl or launchctl prints it; return that command's exit code."""
        return _show("systemctl", "--user", "--no-pager", "status", LABEL)

    def logs(self) -> int:
        """Show the newest 100 lines of its log; return the exit code of the command that prints them."""
        _require_installed(self.path)
        return _show("journalctl", "--user", "--no-pager", "--lines", "100", "--unit", LABEL)


class Launchd:
    """The person's own launchd."""

    def __init__(self, home: Path) -> None:
        self.path = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._logs = home / "Library" / "Logs"
        self._domain = f"gui/{os.getuid()}"

    def definition(self, job: Job) -> str:
        """Return what would be installed."""
        return agent(job, self._logs).decode()

    def install(self, job: Job) -> list[str]:
        """Write the agent, start it now and at every login."""
        _require_runnable(Path(job.command[0]))
        definition = self.definition(job).encode()
        if self.path.exists():
            self.uninstall()
        _write(self.path, definition)
        _run("launchctl", "bootstrap", self._domain, str(self.path))
        return []

    def uninstall(self) -> None:
        """Stop it and remove the agent."""
        _require_installed(self.path)
        _show("launchctl", "bootout", f"{self._domain}/{LABEL}")
        self.path.unlink()

    def status(self) -> int:
        """Show whether it runs, as systemctl or launchctl prints it; return that command's exit code."""
        return _show("launchctl", "print", f"{self._domain}/{LABEL}")

    def logs(self) -> int:
        """Show the newest 100 lines of its log; return the exit code of the command that prints them."""
        _require_installed(self.path)
        return _show("tail", "-n", "100", str(self._logs / "claude-gauge.log"))


def manager(platform: str = sys.platform, home: Path | None = None) -> Systemd | Launchd:
    """Return this system's manager of services."""
    home = home or Path.home()
    return Launchd(home) if platform == "darwin" else Systemd(home)


def _linger() -> list[str]:
    """Return a note that a person's services end with the last session, unless lingering is enabled."""
    user = pwd.getpwuid(os.getuid()).pw_name if _has_a_name() else str(os.getuid())
    if shutil.which("loginctl") is None:
        return []
    command = ("loginctl", "show-user", user, "--property=Linger", "--value")
    if subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes":  # noqa: S603 - ours
        return []
    return [f"It runs while you are logged in. To have it run always: sudo loginctl enable-linger {user}"]


def _has_a_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content)


def _run(*command: str) -> None:
    _require(command)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    _refuse_no_bus(done.stderr)
    if done.returncode:
        raise GaugeError(f"`{' '.join(command)}` failed: {' '.join(done.stderr.split()) or done.returncode}")


def _show(*command: str) -> int:
    _require(command)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own words
    _refuse_no_bus(done.stderr)
    sys.stderr.write(done.stderr)
    return done.returncode


def _refuse_no_bus(said: str) -> None:
    """Raise GaugeError where the user has no systemd of their own: after `su` or `sudo`, in a container."""
    if any(sign in said for sign in ("connect to bus", "connect to user scope bus", "not been booted with systemd")):
        if not Path("/run/systemd/system").is_dir():
            raise GaugeError(f"systemd does not run on this system; {BY_HAND}")
        uid = os.getuid()
        raise GaugeError(
            "your own systemd can't be reached: log in as this user directly, not by su or sudo, or try "
            f"`sudo loginctl enable-linger {uid}` and `export XDG_RUNTIME_DIR=/run/user/{uid}`"
        )


def _require_runnable(program: Path) -> None:
    """Raise GaugeError for a program that this user can't start, such as one below root's home."""
    if os.access(program, os.X_OK):
        return
    real = Path(os.path.realpath(program))
    shut = next((each for each in reversed(real.parents) if not os.access(each, os.X_OK)), real)
    raise GaugeError(
        f"you may not run {program}: {shut} is shut to you; install claude-gauge as this user "
        "(`pipx install claude-gauge`) and call that one"
    )


def _require_installed(definition: Path) -> None:
    if not definition.exists():
        raise GaugeError(f"no service is installed ({definition}); `claude-gauge service install` makes one")


def _require(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise GaugeError(f"{command[0]} is not on this system; {BY_HAND}")
