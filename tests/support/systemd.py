"""A real systemd user manager for one test, in mounts and control groups of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.net import wait_until

PROGRAM = "/lib/systemd/systemd"
# Systemd runs only where /run/systemd/system says that it is at work.
_BEGIN = """
for group in "$@"; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
exec /lib/systemd/systemd --user --log-target=console
"""


class UserManager:
    """`systemd --user` with `folder` as its person's home."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "PATH": os.environ["PATH"]}
        self._process = process

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command as that person would."""
        inside = ["nsenter", "--target", str(self._process.pid), "--mount", *command]
        return subprocess.run(inside, env={**self.env, **more}, capture_output=True, text=True, timeout=60, check=False)

    def ours(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours as that person would."""
        return self.run(sys.executable, "-m", "claude_gauge", *arguments, **more)

    def tells(self, what: str) -> str:
        """Return a property of our service."""
        return self.run("systemctl", "--user", "show", "--value", "--property", what, "claude-gauge").stdout.strip()


@contextlib.contextmanager
def user_manager() -> Iterator[UserManager]:
    """Give a manager that answers, or skip the test with the reason."""
    if os.geteuid() != 0 or not Path(PROGRAM).exists():
        pytest.skip("a systemd user manager of the test's own needs root and systemd's package")
    # Not below /tmp: a hardened service sees another one.
    folder = Path(tempfile.mkdtemp(prefix="gauge-systemd-", dir="/home"))
    (folder / "run").mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            groups = [stack.enter_context(_group(where, folder.name)) for where in _hierarchies()]
        except OSError as error:
            pytest.skip(f"no control groups can be made here: {error}")
        command = ["unshare", "--mount", "sh", "-ec", _BEGIN, "sh", *map(str, groups)]
        env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "PATH": os.environ["PATH"]}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        stack.callback(_end, process)
        manager = UserManager(folder, process)
        wait_until(lambda: _answers(manager) or process.poll() is not None, "systemd's user manager to answer")
        if process.poll() is not None:
            pytest.skip(f"systemd's user manager does not start here: {(folder / 'log').read_text()[-300:]}")
        yield manager


def _answers(manager: UserManager) -> bool:
    return manager.run("systemctl", "--user", "is-system-running").stdout.strip() in {"running", "degraded"}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # it ends its services first
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _hierarchies() -> Sequence[Path]:
    """Return where systemd's control groups are: one place, or two on an older or hybrid layout."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" or "name=systemd" in options.split(","):
            found.append(Path(where))
    return found


@contextlib.contextmanager
def _group(where: Path, name: str) -> Iterator[Path]:
    group = where / name
    group.mkdir()
    try:
        yield group
    finally:
        for processes in group.rglob("cgroup.procs"):
            for number in map(int, processes.read_text().split()):
                os.kill(number, signal.SIGKILL)  # a manager that had to be killed leaves its services
                wait_until(lambda: str(number) not in processes.read_text(), "a service to end")  # noqa: B023
        for folder in sorted((path.parent for path in group.rglob("cgroup.procs")), reverse=True):
            folder.rmdir()
