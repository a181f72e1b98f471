"""Where the time goes between an appended line and a subscriber: each hop's median, from the publisher's own clock.

python -m benchmarks.hops; about a minute. The publisher runs as ever, but a few of its functions note when they are
entered or left. The steady clock is the same in all processes of a machine, so that their times can be compared.
"""

from __future__ import annotations

import atexit
import json
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.transcripts import SAMPLE, assistant

from benchmarks.scene import Scene

SAMPLES = 200
# In the order of a line's way: the hop that ends there, the function, and whether its entry or its end is the moment.
POINTS = (
    ("the kernel wakes the reading thread", "claude_gauge.system.inotify:Inotify.read", "entry"),
    ("event read, path found", "claude_gauge.system.file_events:Hints.take", "end"),
    ("file opened, checked, read", "claude_gauge.sources.transcripts.tail:Tail.step", "end"),
    ("line parsed", "claude_gauge.sources.transcripts.source:Transcripts._turns", "end"),
    ("counted", "claude_gauge.sources.transcripts.source:Transcripts._count", "end"),
    ("reported to the publisher", "claude_gauge.daemon.publisher:Publisher.compute", "entry"),
    ("payload derived and validated", "claude_gauge.daemon.publisher:Publisher.compute", "end"),
    ("JSON", "claude_gauge.contract.usage:Usage.to_json", "end"),
    ("outlets before the broker's", "claude_gauge.mqtt.link:Link.announce", "entry"),
    ("handed to the connection", "claude_gauge.mqtt.connection:Connection.publish", "entry"),
    ("PUBLISH packed and written", "claude_gauge.mqtt.connection:Connection.publish", "end"),
)
LAST = "broker, subscriber"


def trace(file: Path) -> None:
    """Note the points' times in this process, and write them down at its end."""
    noted: list[tuple[int, float]] = []
    for number, (_, place, moment) in enumerate(POINTS):
        _patch(place, moment, lambda number=number: noted.append((number, time.monotonic())))  # type: ignore[misc]
    atexit.register(lambda: file.write_text(json.dumps(noted)))


def _patch(place: str, moment: str, note: Callable[[], None]) -> None:
    module, _, name = place.partition(":")
    holder, _, function = name.partition(".")
    owner = getattr(__import__(module, fromlist=[holder]), holder)
    original = getattr(owner, function)

    def traced(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the original takes
        if moment == "entry":
            note()
        result = original(*given, **named)
        if moment == "end":
            note()
        return result

    setattr(owner, function, traced)


def measure() -> list[tuple[str, float, float]]:
    """Append lines one by one; return each hop with the median of its seconds, and of those since the append."""
    with tempfile.TemporaryDirectory(prefix="claude-gauge-hops-") as name, Scene(Path(name)) as scene:
        file = Path(name) / "trace.json"
        publishing = scene.publish(within=[sys.executable, "-m", "benchmarks.hops", str(file)])
        assert scene.arrivals.any.wait(20)
        spans = []
        for number in range(1, SAMPLES + 1):
            begun = time.monotonic()
            scene.claude.append(assistant(time.time(), number))
            spans.append((begun, scene.arrivals.wait_for(number * SAMPLE)))
            time.sleep(0.15 + number % 7 / 50)
        publishing.end()
        noted = json.loads(file.read_text())
    return _hops([_passed(noted, begun, end) for begun, end in spans])


def _passed(noted: list[tuple[int, float]], begun: float, end: float) -> list[float]:
    """Return when a line passed each point and the end, since `begun`; the points come in order."""
    times, at = [], begun
    for point in range(len(POINTS)):
        at = next((time for number, time in noted if number == point and at <= time < end), at)
        times.append(at - begun)
    return [*times, end - begun]


def _hops(lines: list[list[float]]) -> list[tuple[str, float, float]]:
    labels = [*(label for label, _, _ in POINTS), LAST]
    hops = []
    for number, label in enumerate(labels):
        took = [line[number] - (line[number - 1] if number else 0) for line in lines]
        hops.append((label, statistics.median(took), statistics.median(line[number] for line in lines)))
    return hops


def main() -> None:
    """Print the table."""
    print("| hop | median | since the append |\n|---|---|---|")
    for label, took, since in measure():
        print(f"| {label} | {took * 1000:.2f} ms | {since * 1000:.2f} ms |")


if __name__ == "__main__":
    if len(sys.argv) > 1:  # as the publisher: the trace's file, then the command that it was to be
        trace(Path(sys.argv[1]))
        sys.argv = ["claude-gauge", *sys.argv[sys.argv.index("claude_gauge") + 1 :]]
        runpy.run_module("claude_gauge", run_name="__main__")
    else:
        main()
