"""A broker as a child process that never outlives us, however we end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

# The inner shell waits for the end of a pipe that only we hold open: it also ends when we are killed.
GUARDED = 'exec 3<&0; (read -r _ <&3; kill $$) >/dev/null 2>&1 & exec "$@" </dev/null 3<&-'
STOP_S = 2.0


class Child:
    """One run of a program, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell text in it
                ["/bin/sh", "-c", GUARDED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: `offline` needs the broker. A closed terminal would
            )  # end the inner shell, while Mosquitto takes its SIGHUP for a wish to reload.

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
        """End it, politely first."""
        self._let_go()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def said(self, word: str) -> bool:
        """Tell whether it said this."""
        return word in self._log.read_text("utf-8", "replace")

    def last_words(self) -> str:
        """Return the last line that it said."""
        lines = self._log.read_text("utf-8", "replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
