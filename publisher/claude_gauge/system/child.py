"""Runs child programs: each in its own session, without our secrets, and ended when this process ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OURS = "CLAUDE_GAUGE_"
_SECRET = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|COOKIE|MNEMONIC|WEBHOOK|(API|ACCESS|PRIVATE)_?KEY|_(KEY|PWD|DSN)$|"
    r"(^|_)(HEADERS|AUTH|PAT)$",
    re.IGNORECASE,
)
_PLACE = re.compile(r"_(FILE|DIR|PATH)$", re.IGNORECASE)  # where a secret is, not the secret
_LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_PROXY = re.compile(r"_PROXY$", re.IGNORECASE)  # whoever fetches something needs it whole

# The inner shell waits for the end of a pipe that only we hold open: it also ends when we are killed.
_GUARDED = 'exec 3<&0; (read -r _ <&3; kill $$) >/dev/null 2>&1 & exec "$@" </dev/null 3<&-'
STOP_S = 2.0


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without secrets: no setting of ours, no password, token or key, none in a URL."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(OURS)
        and (_PLACE.search(name) or not _SECRET.search(name))
        and (_PROXY.search(name) or not _LOGIN.search(value))
    }


def spawn(
    argv: Sequence[str], environ: Mapping[str, str], *, stdin: int, stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a program with just this environment, in a session of its own: Ctrl-C is for us; raises OSError."""
    return subprocess.Popen(  # noqa: S603 - what the settings name, or our own; no shell text in it
        argv, env=dict(environ), stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that was spawned, and all that it started.

    One that has ended is left alone: its number may be another's by now.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended; `code` is None where it took too long and was killed."""

    code: int | None
    out: bytes
    err: str


class Child:
    """Runs one program at a time to its end, and never leaves anything of it behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, argv: Sequence[str], environ: Mapping[str, str], timeout_s: float, *, mute: bool = False) -> Finished:
        """Run it to its end; `mute`: what it says is dropped. Raises OSError where it can't be started."""
        output = subprocess.DEVNULL if mute else subprocess.PIPE
        with self._lock:
            if self._stopped:
                return Finished(None, b"", "stopped")
            process = spawn(argv, environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            self._running = process
        with process:
            try:
                out, err = process.communicate(timeout=timeout_s)
                code: int | None = process.returncode
            except subprocess.TimeoutExpired:
                code = None
                kill_group(process)
                out, err = process.communicate()
            finally:
                with self._lock:
                    self._running = None
        return Finished(code, out or b"", (err or b"").decode("utf-8", "replace"))

    def stop(self) -> None:
        """Kill what runs, and run nothing more."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                kill_group(self._running)


class Companion:
    """A program that runs beside us, its output in a file, and never outlives us, however we end."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._log = log
        guarded = ["/bin/sh", "-c", _GUARDED, "sh", *command]
        # A session of its own: a closed terminal would end the inner shell, and Ctrl-C the program, which is still
        # needed for our last messages.
        with log.open("wb") as output:
            self._process = spawn(guarded, environ, stdin=subprocess.PIPE, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait until it ends."""
        self._process.wait()
        self._let_go()

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL."""
        self._let_go()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def said(self, word: str) -> bool:
        """Return whether it said this."""
        return word in self._output()

    def last_words(self) -> str:
        """Return the last line that it said."""
        lines = self._output().split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")

    def _output(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")
        except OSError:  # the state folder was emptied meanwhile
            return ""

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
