"""The real command in a home folder of the test's own: as a process, in the background, or within this process."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Self
from unittest import mock

from tests.support.net import PATIENCE_S
from tests.support.transcripts import ClaudeHome

from claude_gauge.__main__ import main


def environment(claude: ClaudeHome, folder: Path, **more: str) -> dict[str, str]:
    """Return a clean environment that knows only the test's own folders."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"} or name.startswith("COV")}
    own = {
        "HOME": str(folder),
        "CLAUDE_CONFIG_DIR": str(claude.folder),
        "CLAUDE_GAUGE_STATE_DIR": str(folder / "state"),
    }
    return {**kept, **own, **more}


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    command = [sys.executable, "-m", "claude_gauge", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def call(*arguments: str, env: Mapping[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end in this process, which spares the third of a second of a new one's start.

    Arguments, environment, input and output are its own; a test that wants its own signals, or what it says of a full
    disk or a closed pipe, wants `run`.
    """
    said, complained, code = io.StringIO(), io.StringIO(), None
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", ["claude-gauge", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
        redirect_stdout(said),
        redirect_stderr(complained),
        as_before(),
    ):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), complained.getvalue())


@contextmanager
def as_before() -> Iterator[None]:
    """Take back what a command changes in its process, which ends with it otherwise: signals and the log."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    logs = [logging.getLogger(name) for name in (None, "claude_gauge")]
    before = [(log.level, log.handlers[:]) for log in logs]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        for log, (level, kept) in zip(logs, before, strict=True):
            log.setLevel(level)
            log.handlers[:] = kept


class Publishing:
    """`claude-gauge publish` in the background, `within` another command where one is given; its log is in `log`."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str], within: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "publisher.log"
        self._command = [*within, sys.executable, "-m", "claude_gauge", "publish", *arguments]
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it said."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it, again if it had ended."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        return self

    def end(self, number: int = signal.SIGTERM, deadline_s: float = PATIENCE_S) -> int:
        """Send it a signal and return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(deadline_s)

    def wait(self, deadline_s: float = PATIENCE_S) -> int:
        """Wait until it ends by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(deadline_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
