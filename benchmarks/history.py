"""How long a start takes on much history until the figures are exact, beside ccusage on the same files and `cat`.

python -m benchmarks.history [GIGABYTES...]; all sizes are measured in one run, which writes its table into RESULTS.md.
A start is the time from the process's first moment on. Equal figures are compared: the tach is exact when it shows
the responses of the last minute, block and week when they equal ccusage's, and what was written since. `packages alone`
is how long Python takes to import the packages that a publisher cannot do without: no figure can come sooner.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from tests.support.mosquitto import Listener
from tests.support.net import wait_until
from tests.support.parts import part
from tests.support.transcripts import assistant

from benchmarks.__main__ import RESULTS, machine
from benchmarks.measures import PACKAGES
from benchmarks.process import rss_mb
from benchmarks.scene import NODE, Scene
from benchmarks.tree import fill

SIZES = (0.1, 0.3, 1.0, 3.0)  # GB
RESPONSES = 333_000  # of each gigabyte
PER_FILE = 166
DAYS = 6.5  # all of it belongs to the week
SAID = "x" * 215
LIVE = 20  # responses of the last minute
HEAD = (
    "| history | cat | ccusage 20.0.24 | packages alone | tach exact | block exact | week exact | week : ccusage "
    "| memory |\n" + "|---" * 9 + "|"
)


@dataclass
class Start:
    """Seconds from the start until each figure was exact; processor seconds, and the most memory in MB."""

    tach: float
    block: float
    week: float
    cpu: float
    memory: float
    children: float


def main(sizes: list[float]) -> None:
    """Measure all sizes, print the table, and write it down where all were measured."""
    rows = [HEAD]
    for size in sizes:
        rows.append(_row(size))
        print(rows[-1], file=sys.stderr)
    table = "\n".join(rows)
    print(table)
    if tuple(sizes) == SIZES:
        _write(table)


def _row(size: float) -> str:
    with tempfile.TemporaryDirectory(prefix="claude-gauge-benchmark-") as folder, Scene(Path(folder)) as scene:
        files = round(size * RESPONSES / PER_FILE)
        projects = scene.claude.folder / "projects"
        written = fill(projects, files, PER_FILE, time.time() - 120, days=DAYS, said=SAID)
        paths = [str(path) for path in projects.rglob("*.jsonl")]
        cat, _ = _timed(["cat", *paths])
        packages, _ = _timed([sys.executable, "-c", PACKAGES])
        theirs, their_cpu, block = _ccusage(scene)
        week = _ccusage_week(scene)
        now = time.time()  # what is written last must still be in the last minute when it is shown
        scene.claude.append(*(assistant(now - n / 10, 10**6 + n, tokens=(0, 500, 0, 0)) for n in range(LIVE)))
        ours = _start(scene, block + LIVE * 500, week + LIVE * 500)
        shutil.rmtree(projects)
    return (
        f"| {written / 1e9:.1f} GB, {files * PER_FILE:,} responses in {files:,} files | {cat:.2f} s "
        f"| {theirs:.2f} s ({their_cpu:.1f} s of processor) | {packages:.2f} s "
        f"| {ours.tach:.2f} s | {ours.block:.2f} s "
        f"| {ours.week:.2f} s ({ours.cpu:.1f} s of processor) | {ours.week / theirs:.2f}x "
        f"| {ours.memory:.0f} MB, children {ours.children:.0f} MB |"
    )


def _timed(command: list[str], env: dict[str, str] | None = None) -> tuple[float, bytes]:
    begun = time.monotonic()
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, check=True).stdout
    return time.monotonic() - begun, out


def _environment(scene: Scene) -> dict[str, str]:
    return {**os.environ, "HOME": str(scene.folder), "CLAUDE_CONFIG_DIR": str(scene.claude.folder)}


def _ccusage(scene: Scene) -> tuple[float, float, int]:
    """Ask for the active block: seconds, processor seconds, its tokens."""
    program = str(part("ccusage-20.0.24/node_modules/.bin/ccusage"))
    before = _children_cpu()
    took, out = _timed([program, "blocks", "--json", "--offline", "--active"], _environment(scene))
    return took, _children_cpu() - before, int(json.loads(out)["blocks"][0]["totalTokens"])


def _ccusage_week(scene: Scene) -> int:
    """Return the tokens of all blocks: the whole tree lies within the week."""
    program = str(part("ccusage-20.0.24/node_modules/.bin/ccusage"))
    _, out = _timed([program, "blocks", "--json", "--offline"], _environment(scene))
    return sum(int(block["totalTokens"]) for block in json.loads(out)["blocks"] if not block["isGap"])


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Payloads(Listener):
    """Notes each payload and when it came."""

    def __init__(self, port: int) -> None:
        self.came: list[tuple[float, Any]] = []
        super().__init__(port, f"claude-gauge/{NODE}/usage")

    def _message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        self.came.append((time.monotonic(), json.loads(message.payload)))

    def first(self, wanted: Callable[[Any], bool]) -> float:
        """Wait for the first payload that is wanted; return when it came."""
        wait_until(lambda: any(wanted(usage) for _, usage in list(self.came)), "the figure", 300)
        return next(at for at, usage in self.came if wanted(usage))


def _start(scene: Scene, block: int, week: int) -> Start:
    with _Payloads(scene.broker.port) as payloads:
        begun = time.monotonic()
        publishing = scene.publish()
        children = 0.0

        def whole(usage: Any) -> bool:  # noqa: ANN401 - JSON
            return bool(usage["window_7d_tokens"] == week)

        while not any(whole(usage) for _, usage in list(payloads.came)) and time.monotonic() < begun + 300:
            children = max(children, sum(map(rss_mb, _children(publishing.pid))))
            time.sleep(0.1)
        tach = payloads.first(lambda usage: usage["rate_1m"] == LIVE * 500)
        fuel = payloads.first(lambda usage: usage["sources"]["fuel"]["ok"] and usage["window_5h_tokens"] == block)
        exact = payloads.first(whole)
        wait_until(lambda: not _children(publishing.pid), "the readers to end")
        fields = Path(f"/proc/{publishing.pid}/stat").read_text().rpartition(")")[2].split()
        spent = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own and its ended children's
        return Start(tach - begun, fuel - begun, exact - begun, spent, rss_mb(publishing.pid, peak=True), children)


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def _write(table: str) -> None:
    begin, end = "## History\n", "## By scripts of their own"
    head, _, rest = RESULTS.read_text().partition(end)
    head = head.partition(begin)[0]
    load, today = f"{os.getloadavg()[1]:.0f}", time.strftime("%Y-%m-%d")
    text = (
        f"{begin}\nMeasured {today} by `python -m benchmarks.history` on {machine()}, all in one run,\n"
        f"at a load average of {load}: from a start of the publisher until a subscriber sees the exact figure,\n"
        f"which is ccusage's.\n\n{table}\n\n"
    )
    RESULTS.write_text(f"{head}{text}{end}{rest}")


if __name__ == "__main__":
    main([float(size) for size in sys.argv[1:]] or list(SIZES))
