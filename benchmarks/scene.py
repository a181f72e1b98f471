"""A Mosquitto, a publisher and a subscriber that notes when each sum of tokens arrived."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import free_port, wait_until
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome

NODE = "benchmark"


class Arrivals(Listener):
    """Notes the moment at which each sum of tokens was first received."""

    def __init__(self, port: int, topic: str) -> None:
        self.at: dict[int, float] = {}
        self.any = threading.Event()
        super().__init__(port, topic)

    def _message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        now = time.monotonic()
        self.at.setdefault(int(json.loads(message.payload)["window_5h_tokens"]), now)
        self.any.set()

    def wait_for(self, tokens: int) -> float:
        """Return when this sum came."""
        wait_until(lambda: tokens in self.at, f"{tokens} tokens")
        return self.at[tokens]


class Scene:
    """All of it, in a folder of its own; the publisher starts with `publish`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claude = ClaudeHome(folder / "claude")
        self.http = free_port()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.broker = self._stack.enter_context(Mosquitto(self.folder / "broker"))
        self.arrivals = self._stack.enter_context(Arrivals(self.broker.port, f"claude-gauge/{NODE}/usage"))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def publish(self, within: Sequence[str] = ()) -> Publishing:
        """Start our publisher, `within` another command where one is given; it ends with the scene."""
        more = {
            "CLAUDE_GAUGE_BROKER": self.broker.url,
            "CLAUDE_GAUGE_NODE": NODE,
            "CLAUDE_GAUGE_HTTP": f"127.0.0.1:{self.http}",
            "CLAUDE_GAUGE_SOURCE": "transcripts",
        }
        env = environment(self.claude, self.folder, **more)
        return self._stack.enter_context(Publishing(self.folder / "run", env=env, within=within))

    @contextlib.contextmanager
    def bare(self) -> Iterator[tuple[Arrivals, int]]:
        """Run the bare script on the same folder; give its arrivals and its process id."""
        with Arrivals(self.broker.port, "bare/usage") as arrivals:
            command = [sys.executable, "-m", "benchmarks.bare", str(self.claude.project), str(self.broker.port)]
            with subprocess.Popen(command) as process:
                try:
                    assert arrivals.any.wait(20)
                    yield arrivals, process.pid
                finally:
                    process.kill()
