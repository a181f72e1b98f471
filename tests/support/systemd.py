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
from tests.support import ROOT
from tests.support.net import PATIENCE_S, wait_until

PROGRAM = "/lib/systemd/systemd"
# Systemd runs only where /run/systemd/system says that it is at work.
_BEGIN = """
for group in "$@"; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
exec /lib/systemd/systemd --user --log-target=console
"""


# The same for an ordinary person, who is made up in these mounts alone; where `confined` is "no", without the right to
# make user namespaces. Arguments: uid, confined, home, folders that must be reachable (separated by :), control groups.
_BEGIN_AS = """
import ctypes, os, subprocess, sys
uid, confined, home, reachable, *groups = sys.argv[1:]
def unshare(flag):
    if ctypes.CDLL(None, use_errno=True).unshare(flag):
        raise OSError(ctypes.get_errno(), "unshare")
for group in groups:
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
if confined == "no":
    unshare(0x10000000)
    print("maps", flush=True)
    sys.stdin.readline()
unshare(0x20000)
def sh(script, *words):
    subprocess.run(["sh", "-ec", script, "sh", *words], check=True)
sh("mount --make-rprivate / || true; mount -t tmpfs tmpfs /run")
sh("mkdir -p /run/systemd/system /run/systemd/unit-root /run/systemd/incoming /run/kept")
for path in reachable.split(":"):
    parts = path.strip("/").split("/")
    above = ["/" + "/".join(parts[:n]) for n in range(1, len(parts))]
    shut = next((each for each in above if not os.stat(each).st_mode & 1), "")
    if shut:
        sh('mkdir -p "/run/kept$1"; mount --bind "$1" "/run/kept$1"', path)
        sh('mount -t tmpfs -o mode=755 tmpfs "$2"; mkdir -p "$1"; mount --bind "/run/kept$1" "$1"', path, shut)
sh('mount --bind "$1/passwd" /etc/passwd', home)
if confined == "no":
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
else:
    os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
os.execv("/lib/systemd/systemd", ["systemd", "--user", "--log-target=console"])
"""
PERSON = 1500


class UserManager:
    """`systemd --user` with `folder` as its person's home."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], enter: Sequence[str] = ()) -> None:
        self.folder, self._enter = folder, enter
        self.env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "PATH": os.environ["PATH"]}
        self._process = process

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command as that person would."""
        inside = ["nsenter", "--target", str(self._process.pid), "--mount", *self._enter, *command]
        return subprocess.run(
            inside, env={**self.env, **more}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def ours(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours as that person would."""
        return self.run(sys.executable, "-m", "claude_gauge", *arguments, **more)

    def value_of(self, what: str) -> str:
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


@contextlib.contextmanager
def persons_manager(*, namespaces: bool) -> Iterator[UserManager]:
    """Give an ordinary person's manager, who may or may not make user namespaces, or skip the test with the reason."""
    if os.geteuid() != 0 or not Path(PROGRAM).exists():
        pytest.skip("a systemd user manager of the test's own needs root and systemd's package")
    shut = [path for path in Path(sys.base_prefix).parents if not path.stat().st_mode & 1]
    if namespaces and shut:
        pytest.skip(f"{shut[0]} is shut to an ordinary person: in a namespace of its own the service can't be let in")
    folder = Path(tempfile.mkdtemp(prefix="gauge-systemd-", dir="/home"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "run").mkdir(mode=0o700)
        (folder / "passwd").write_text(
            f"{Path('/etc/passwd').read_text()}person:x:{PERSON}:{PERSON}::{folder}:/bin/sh\n"
        )
        try:
            groups = [stack.enter_context(_group(where, folder.name)) for where in _hierarchies()]
        except OSError as error:
            pytest.skip(f"no control groups can be made here: {error}")
        for path in (folder, folder / "run", *groups, *(each for group in groups for each in group.iterdir())):
            os.chown(path, PERSON, PERSON)
        reachable = ":".join(dict.fromkeys([sys.base_prefix, sys.prefix, str(ROOT)]))
        words = [str(PERSON), "yes" if namespaces else "no", str(folder), reachable, *map(str, groups)]
        env = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PATH": os.environ["PATH"],
            "USER": "person",
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN_AS, *words],
                env=env,
                stdin=subprocess.DEVNULL if namespaces else subprocess.PIPE,
                stdout=log if namespaces else subprocess.PIPE,
                stderr=log,
            )
        stack.callback(_end, process)
        if not namespaces:
            _map_users(process)
        user = ["--user", "--preserve-credentials"] if not namespaces else []
        drop = ["setpriv", f"--reuid={PERSON}", f"--regid={PERSON}", "--clear-groups"]
        manager = UserManager(folder, process, [*user, *drop])
        wait_until(lambda: _answers(manager) or process.poll() is not None, "systemd's user manager to answer")
        if process.poll() is not None:
            pytest.skip(f"systemd's user manager does not start here: {(folder / 'log').read_text()[-300:]}")
        yield manager


def _map_users(process: subprocess.Popen[bytes]) -> None:
    """Give the new user namespace the users that there are, once it is there."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"maps\n"
    for kind in ("uid", "gid"):
        Path(f"/proc/{process.pid}/{kind}_map").write_text("0 0 65536")
    with process.stdin as reported:
        reported.write(b"\n")


def _answers(manager: UserManager) -> bool:
    return manager.run("systemctl", "--user", "is-system-running").stdout.strip() in {"running", "degraded"}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # it ends its services first
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_S)


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
