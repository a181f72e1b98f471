"""Runs one program at a time, and never leaves anything of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended; `code` is None where it took too long and was killed."""

    code: int | None
    out: bytes
    err: str


class Child:
    """A program in a process group of its own, so that its children end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, argv: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> Finished:
        """Run it to its end; raises OSError where it can't be started."""
        with self._lock:
            if self._stopped:
                return Finished(None, b"", "stopped")
            process = subprocess.Popen(  # noqa: S603 - the program that the settings name, no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environ),
                start_new_session=True,
            )
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
        return Finished(code, out, err.decode("utf-8", "replace"))

    def stop(self) -> None:
        """Kill what runs, and run nothing more."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                kill_group(self._running)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that was started in a session of its own, and all that it started.

    One that has ended is left alone: its number may be another's by now.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
