"""What is measured: each function makes its own scene and returns rows of the table."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.support.mosquitto import Listener, Received
from tests.support.net import wait_until
from tests.support.parts import PARTS, part
from tests.support.transcripts import SAMPLE, assistant, encoded

from benchmarks.process import cost, rss_mb
from benchmarks.scene import NODE, Arrivals, Scene
from benchmarks.tree import fill
from claude_gauge.contract.usage import OFFLINE, ONLINE

SAMPLES = 150  # in less than a minute: after one, what leaves the last minute makes payloads, too
LEAST_S = 0.002  # shorter pauses are not worth a sleep
PACKAGES = "import msgspec, typer, paho.mqtt.client, watchdog.observers; from pydantic import BaseModel"
QUIET = 0.03  # share of a core below which history is read


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` is ours to the other's, or the other's to ours where more of it is worse."""

    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    target: str = ""


@contextlib.contextmanager
def _scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="claude-gauge-benchmark-") as folder, Scene(Path(folder)) as scene:
        yield scene


def latency() -> list[Row]:
    """Append a line, and see when a subscriber, or somebody who polls the shim, knows of it."""
    with _scene() as scene, scene.bare() as (bare, _):
        scene.publish()
        assert scene.arrivals.any.wait(20)
        ours, theirs, polled = [], [], []
        for number in range(1, SAMPLES + 1):
            begun = time.monotonic()
            scene.claude.append(assistant(time.time(), number))
            ours.append(scene.arrivals.wait_for(number * SAMPLE) - begun)
            theirs.append(bare.wait_for(number * SAMPLE) - begun)
            time.sleep(0.15 + number % 7 / 50)
        for number in range(SAMPLES + 1, SAMPLES + 13):
            begun = time.monotonic()
            scene.claude.append(assistant(time.time(), number))
            while _polled(scene.http) != number * SAMPLE:
                time.sleep(1)
            polled.append(time.monotonic() - begun + 0.5)  # on average it begins half a second before a poll
    p50, p99 = statistics.median(ours), sorted(ours)[int(len(ours) * 0.99)]
    bare_p50 = statistics.median(theirs)
    return [
        Row("append → subscriber, median", _ms(p50), f"{_ms(bare_p50)} bare inotify, paho", _x(p50 / bare_p50),
            "≤ 1.5x"),
        Row("append → subscriber, 99 %", _ms(p99), f"{_ms(max(theirs))} bare, worst", _x(p99 / max(theirs)), "< 50 ms"),
        Row("append → known, median", _ms(p50), f"{_ms(statistics.median(polled))} polling the shim at 1 Hz",
            f"{statistics.median(polled) / p50:.0f}x sooner"),
    ]  # fmt: skip


def _polled(port: int) -> int:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/usage")
        return int(json.loads(connection.getresponse().read())["window_5h_tokens"])


def busy(seconds: int = 10) -> list[Row]:
    """Append 1,000 lines a second over 50 files, for ten seconds."""
    with _scene() as scene, scene.bare() as (_, bare):
        publishing = scene.publish()
        assert scene.arrivals.any.wait(20)
        before, bare_before, begun = cost(publishing.pid), cost(bare), time.monotonic()
        for n in range(seconds * 1000):
            data = encoded(assistant(time.time(), n))
            with (scene.claude.project / f"s{n % 50}.jsonl").open("ab", buffering=0) as file:
                file.write(data)
            pause = begun + n / 1000 - time.monotonic()
            if pause > LEAST_S:
                time.sleep(pause)
        ours, _ = cost(publishing.pid).since(before)
        theirs, _ = cost(bare).since(bare_before)
        scene.arrivals.wait_for(seconds * 1000 * SAMPLE)
    return [Row("CPU at 1,000 lines/s over 50 files", _share(ours), f"{_share(theirs)} bare script", _x(ours / theirs),
                "≤ 20 % of a core")]  # fmt: skip


def start(files: int = 2000, responses: int = 98) -> list[Row]:
    """Start on a gigabyte of history; beside it others that read the same."""
    with _scene() as scene:
        projects = scene.claude.folder / "projects"
        size = fill(projects, files, responses, time.time())
        begun = time.monotonic()
        publishing = scene.publish()
        assert scene.arrivals.any.wait(60)
        ours = min(scene.arrivals.at.values()) - begun
        imports = _timed([sys.executable, "-c", PACKAGES])
        paths = [str(path) for path in projects.rglob("*.jsonl")]
        cat = _timed(["cat", *paths])
        env = {**os.environ, "HOME": str(scene.folder), "CLAUDE_CONFIG_DIR": str(scene.claude.folder)}
        ccusage = part("ccusage-20.0.24/node_modules/.bin/ccusage")
        theirs = _timed([str(ccusage), "blocks", "--json", "--offline", "--active"], env)
        rows = [
            Row(f"start → first payload, {size / 1e9:.1f} GB in {files:,} files", _ms(ours), f"{_ms(cat)} cat",
                _x(ours / cat), "≤ 1 s"),
            Row("  the same", _ms(ours), f"{_ms(theirs)} ccusage 20.0.24", f"{theirs / ours:.1f}x sooner", "≥ 20x"),
        ]  # fmt: skip
        rows.append(Row("  of which Python and its packages alone", _ms(imports)))
        monitor = _claude_monitor()
        if monitor:
            command = [monitor, "--once", "--no-api", "--output", "json", "--data-paths", json.dumps([str(projects)])]
            slow = _timed(command, env)
            rows.append(Row("  the same", _ms(ours), f"{_ms(slow)} claude-monitor", f"{slow / ours:.1f}x sooner"))
        rows += _idle(publishing.pid, f"{size / 1e9:.1f} GB in {files:,} files")
    return rows


def many() -> list[Row]:
    """Follow 20,000 files."""
    with _scene() as scene:
        size = fill(scene.claude.folder / "projects", 20_000, 3, time.time())
        publishing = scene.publish()
        assert scene.arrivals.any.wait(60)
        return _idle(publishing.pid, f"{size / 1e9:.1f} GB in 20,000 files")


def _idle(pid: int, where: str) -> list[Row]:
    settled = [time.monotonic()]

    def quiet() -> bool:
        before = cost(pid)
        time.sleep(1)
        settled.append(cost(pid).since(before)[0])
        return settled[-1] < QUIET

    wait_until(quiet, "the history to be read", 60)
    time.sleep(5)
    before = cost(pid)
    time.sleep(65)
    share, wakes = cost(pid).since(before)
    return [
        Row(f"idle CPU, {where}", _share(share), target="≤ 0.3 %"),
        Row(f"idle wake-ups, {where}", f"{wakes:.1f}/s", target="≤ 5/s"),
        Row(f"memory, {where}", f"{rss_mb(pid):.0f} MB, at most {rss_mb(pid, peak=True):.0f}", target="≤ 60 MB"),
    ]


def recovery() -> list[Row]:
    """Kill, freeze, overflow, and take the broker away: how long until a reader knows, or the figures are right."""
    rows = []
    with _scene() as scene, Listener(scene.broker.port, f"claude-gauge/{NODE}/status") as listener:
        publishing = scene.publish()
        listener.wait(_says(ONLINE))
        for what, number, target in (("killed", signal.SIGKILL, "≤ 1 s"), ("frozen", signal.SIGSTOP, "≤ 22.5 s")):
            seen, begun = len(listener.messages), time.monotonic()
            os.kill(publishing.pid, number)
            listener.wait(_says(OFFLINE), 60, after=seen)
            rows.append(Row(f"publisher {what} → seen", _ms(time.monotonic() - begun), target=target))
            publishing.end(signal.SIGKILL)
            publishing.start()
            listener.wait(_says(ONLINE), after=len(listener.messages))
        scene.claude.append(assistant(time.time(), 1), name="s1.jsonl")
        scene.arrivals.wait_for(SAMPLE)
        os.kill(publishing.pid, signal.SIGSTOP)
        for n in range(2, 20_001):
            scene.claude.append(assistant(time.time(), n), name=f"s{n % 50}.jsonl")
        begun = time.monotonic()
        os.kill(publishing.pid, signal.SIGCONT)
        took = scene.arrivals.wait_for(20_000 * SAMPLE) - begun
        rows.append(Row("event queue overflown → all 20,000 lines counted", _ms(took), target="≤ 5 s"))
    return [*rows, _broker_back()]


def _broker_back() -> Row:
    with _scene() as scene:
        scene.publish()
        assert scene.arrivals.any.wait(20)
        scene.broker.kill()
        time.sleep(10)
        scene.claude.append(assistant(time.time(), 1))
        scene.broker.start()
        begun = time.monotonic()
        with Arrivals(scene.broker.port, f"claude-gauge/{NODE}/usage") as arrivals:
            took = arrivals.wait_for(SAMPLE) - begun
    return Row("broker back after 10 s → fresh state", _ms(took), target="≤ 5 s")


def _says(word: str) -> Callable[[Received], bool]:
    return lambda received: received.payload.decode() == word


def http(seconds: float = 3.0, clients: int = 32) -> list[Row]:
    """Ask the shim as fast as one client process can, on kept connections."""
    request = b"GET /usage HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with _scene() as scene, contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        scene.publish()
        assert scene.arrivals.any.wait(20)
        for _ in range(clients):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", scene.http)))
            sock.send(request)
            selector.register(sock, selectors.EVENT_READ)
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(1):
                sock = key.fileobj  # type: ignore[assignment]
                if sock.recv(65536).endswith(b"}"):
                    count += 1
                    sock.send(request)
    return [Row(f"HTTP requests, {clients} connections", f"{count / seconds:,.0f}/s", target="≥ 5,000/s")]


def _timed(command: list[str], env: dict[str, str] | None = None) -> float:
    begun = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=True)
    return time.monotonic() - begun


def _claude_monitor() -> str | None:
    """Install claude-monitor beside us, once, for comparison only; None where it can't be."""
    folder = PARTS / "claude-monitor"
    program = folder / "bin" / "claude-monitor"
    if not program.exists():
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", "claude-monitor"], check=True)
        if not program.exists():
            shutil.rmtree(folder, ignore_errors=True)
            return None
    return str(program)


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _share(share: float) -> str:
    return f"{share * 100:.2f} %"


def _x(ratio: float) -> str:
    return f"{ratio:.2f}x"
