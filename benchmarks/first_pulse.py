"""From a transcript's line to the first pulse of a needle, pushed as we do, and polled once a second as the seed did.

python benchmarks/first_pulse.py [TURNS]; about a second for each turn, all on loopback, ends by itself. The needle is
the firmware's under MicroPython on virtual hardware; a poller can move its needle no sooner than it knows the figure.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.firmware.boards import config, linked, micropython
from tests.support.mosquitto import Mosquitto
from tests.support.net import answers, free_port, wait_until
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.apps.device.virtual_board import VirtualBoard

CEILING = 3_000_000  # small enough that each turn moves the fuel needle
TURN = (0, 5_000, 5_000, 0)


class Poller:
    """Asks `GET /usage` once a second and notes when the fuel had moved."""

    def __init__(self, port: int) -> None:
        self.seen: list[float] = []
        self._url = f"http://127.0.0.1:{port}/usage"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        last = None
        while not self._end.wait(1):
            with urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310 - our own shim
                tokens = json.load(answer)["window_5h_tokens"]
            if tokens != last:
                self.seen.append(time.time())
                last = tokens

    def __enter__(self) -> Poller:  # noqa: PYI034 - a script
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def main(turns: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name) / "broker") as broker:
        folder, http = Path(name), free_port()
        claude = ClaudeHome(folder / "claude")
        claude.append(assistant(time.time(), 0, tokens=(0, 1, 0, 0)))  # of a session without use no figure is known
        own = {"BROKER": broker.url, "NODE": "desk", "HTTP": f"127.0.0.1:{http}", "CEILING_5H": str(CEILING)}
        env = environment(claude, folder, **{f"CLAUDE_GAUGE_{key}": value for key, value in own.items()})
        board = VirtualBoard(folder / "flash", config(broker.port), micropython())
        with board, Publishing(folder / "run", env=env):
            linked(board)
            wait_until(lambda: answers(http), "the publisher")
            wait_until(lambda: abs(board.shares()[0]) < 1e-3, "the needle at zero")  # noqa: PLR2004 - a step's width
            with Poller(http) as poller:
                pushed, appended = measure(claude, board, turns)
        polled = [min(seen - at for seen in poller.seen if seen > at) for at in appended if at < poller.seen[-1]]
    print(f"{turns} turns, milliseconds from the append on; cores: {os.cpu_count()}")
    print(f"{'':32}{'median':>8}{'p95':>8}{'worst':>8}")
    for label, values in (("pushed: first pulse", pushed), ("polled at 1 Hz: figure known", polled)):
        ordered = sorted(1000 * value for value in values)
        p95 = ordered[int(0.95 * (len(ordered) - 1))]
        print(f"{label:32}{statistics.median(ordered):8.1f}{p95:8.1f}{ordered[-1]:8.1f}")


def _fuel(board: VirtualBoard) -> list[float]:
    """When the fuel needle's pulses came."""
    return [pulse.time_us for pulse in board.pulses if pulse.needle == "fuel"]


def measure(claude: ClaudeHome, board: VirtualBoard, turns: int) -> tuple[list[float], list[float]]:
    """Append turns at odd moments and return how long each took to the fuel needle's next pulse, and when it came."""
    pushed, appended = [], []
    for number in range(turns):
        time.sleep(0.5 + random.random())
        before = len(_fuel(board))
        at = time.time()
        claude.append(assistant(at, number + 1, tokens=TURN))
        appended.append(at)
        wait_until(lambda before=before: len(_fuel(board)) > before, "a pulse")  # type: ignore[misc]
        pushed.append(_fuel(board)[before] / 1e6 - at)
    time.sleep(1.5)  # the poller's last look
    return pushed, appended


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
