"""The tachometer of a subscriber against the truth, over a busy quarter of an hour.

python -m benchmarks.tach [MINUTES]; in real time, on loopback, ends by itself. Six sessions answer as Claude Code
does: a response takes some seconds, and all of its lines are written together when it has ended, each with the time of
its own block. The truth at a moment is the sum of the tokens of all responses that ended in the minute before.
"""

from __future__ import annotations

import heapq
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as mqtt
from tests.support.mosquitto import Listener
from tests.support.transcripts import assistant

from benchmarks.scene import NODE, Scene

SESSIONS, MINUTE_S, LOOK_S = 6, 60.0, 0.1
READS = 0.1  # share of the responses that the person reads before going on


class Dial(Listener):
    """Shows the rate of the newest payload."""

    def __init__(self, port: int) -> None:
        self.rate = 0.0
        super().__init__(port, f"claude-gauge/{NODE}/usage")

    def _message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        self.rate = float(json.loads(message.payload)["rate_1m"])


class Traffic:
    """Writes the responses, and knows when each of them ended."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self.ended: list[tuple[float, int]] = []
        self._scene, self._seconds = scene, seconds
        self._random = Random(1)
        self.thread = threading.Thread(target=self._run)

    def rate(self, now: float) -> int:
        """Return the tokens of the last minute."""
        return sum(tokens for at, tokens in self.ended if now - MINUTE_S < at <= now)

    def _run(self) -> None:
        begun = time.time()
        due = [(begun + self._random.random() * 10, session) for session in range(SESSIONS)]
        heapq.heapify(due)
        number = 0
        while due[0][0] < begun + self._seconds:
            at, session = heapq.heappop(due)
            time.sleep(max(0.0, at - time.time()))
            number += 1
            self._respond(number, session)
            think = 20.0 if self._random.random() < READS else 0.0
            heapq.heappush(due, (time.time() + think + self._random.lognormvariate(1.8, 0.7), session))

    def _respond(self, number: int, session: int) -> None:
        at, random = time.time(), self._random
        tokens = (
            random.randrange(50),
            random.randrange(3000),
            random.randrange(20_000, 120_000),
            random.randrange(8000),
        )
        blocks: list[dict[str, Any]] = [
            assistant(at - before, number, tokens=tokens)
            for before in sorted((random.random() * 20, random.random(), 0.0))
        ][::-1]
        self.ended.append((round(at, 3), sum(tokens)))
        self._scene.claude.append(*blocks, name=f"s{session}.jsonl")


def measure(seconds: float) -> tuple[list[float], list[int]]:
    """Return what the dial showed at each look, and what was true then."""
    with tempfile.TemporaryDirectory(prefix="claude-gauge-tach-") as folder, Scene(Path(folder)) as scene:
        scene.publish()
        assert scene.arrivals.any.wait(20)
        with Dial(scene.broker.port) as dial:
            traffic = Traffic(scene, seconds)
            traffic.thread.start()
            shown, true = [], []
            end = time.time() + seconds
            while time.time() < end:
                time.sleep(LOOK_S)
                now, rate = time.time(), dial.rate
                shown.append(rate)
                true.append(traffic.rate(now))
            traffic.thread.join()
    return shown, true


def main(minutes: float) -> None:
    """Print the figures."""
    shown, true = measure(minutes * MINUTE_S)
    errors = [each - truth for each, truth in zip(shown, true, strict=True)]
    mean = statistics.fmean(true)
    wrong = sum(abs(error) > mean / 1000 for error in errors) / len(errors)
    print(f"{minutes:g} minutes, {len(true):,} looks, {mean:,.0f} tokens/min on average, up to {max(true):,}")
    print(f"mean error {statistics.fmean(errors) / mean:+.3%}")
    print(f"mean size of the error {statistics.fmean(map(abs, errors)) / mean:.3%}")
    print(f"looks at which it was off by more than a thousandth: {wrong:.2%}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 15)
