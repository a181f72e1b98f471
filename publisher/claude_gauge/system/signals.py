"""Runs something until a signal asks it to end."""

from __future__ import annotations

import signal
import sys
from typing import Protocol


class Job(Protocol):
    """Something that runs until it is told to stop, from a signal handler too."""

    def run(self) -> None:
        """Work until `stop` is called."""

    def stop(self) -> None:
        """End `run` soon."""


def until_signal(job: Job) -> None:
    """Run until SIGTERM or SIGHUP, which end it in good order, or Ctrl-C, which then exits with 130."""
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        job.stop()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    job.run()
    if signal.SIGINT in received:
        sys.exit(130)
