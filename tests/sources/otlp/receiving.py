"""A real OTLP source on a port of its own, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
from tests.support.net import HTTP

from claude_gauge.config import Settings
from claude_gauge.sources.otlp.feed import Otlp

NOW = 1_795_430_000.0


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@contextmanager
def receiving(state: Path, clock: Clock | None = None) -> Iterator[tuple[Otlp, Clock]]:
    """Start a source that keeps its journal in `state`, and stop it."""
    clock = clock or Clock()
    source = Otlp(Settings(otlp="127.0.0.1:0", state_dir=state, node="test"), clock)
    source.start(lambda: None)
    try:
        yield source, clock
    finally:
        source.stop()


class Listening(Protocol):
    """Whatever listens for OTLP."""

    @property
    def port(self) -> int:
        """Where."""


def send(source: Listening, path: str, body: object, status: int = 200) -> httpx.Response:
    """Post one export as JSON; it must be taken, or answered with another `status`."""
    answer = HTTP.post(f"http://127.0.0.1:{source.port}{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer
