"""`claude-gauge sim` beside the real `claude-gauge publish`: from a transcript's line to the pulses."""

from __future__ import annotations

import csv
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, wait_until
from tests.support.parts import part
from tests.support.publisher import Publishing, call, environment
from tests.support.transcripts import ClaudeHome, assistant

PROGRAM = [sys.executable, "-m", "claude_gauge", "sim"]


@pytest.fixture
def env(claude: ClaudeHome, tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """Give an environment with this test's broker and the real MicroPython on the PATH."""
    micropython = str(part("micropython"))
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "test", "CLAUDE_GAUGE_HTTP": "off"}
    path = micropython + os.pathsep + os.environ["PATH"]
    return {**environment(claude, tmp_path, **own, CLAUDE_GAUGE_REDLINE="1000000"), "PATH": path}


@contextmanager
def simulated(out: Path, env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `claude-gauge sim` with its lines in a file."""
    with out.open("wb") as file:
        process = subprocess.Popen([*PROGRAM, *arguments], env=env, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("folder", ["", "micropython", "micropython-newest-1.28.0.2"])
def test_a_turn_moves_the_needles(claude: ClaudeHome, env: dict[str, str], tmp_path: Path, folder: str) -> None:
    """What Claude Code appends is published and moves the firmware's needles; publisher gone, they rest."""
    out, trace = tmp_path / "sim.log", tmp_path / "trace.csv"
    arguments = ("--micropython",) if folder else ()
    env = {**env, "PATH": str(part(folder)) + os.pathsep + env["PATH"]} if folder else env
    claude.append(assistant(time.time() - 3600, 0))  # without any transcript nothing would be known, not even a zero
    with simulated(out, env, "--trace", str(trace), *arguments):
        wait_until(lambda: "link: connected" in out.read_text(), "the link")
        with Publishing(tmp_path / "run", env=env) as publishing:
            wait_until(lambda: "5H PLAN 0%" in out.read_text(), "needles at zero")
            claude.append(assistant(time.time(), 1, tokens=(0, 100_000, 400_000, 100_000), thinking=50_000))
            wait_until(
                lambda: "THINKING/OUTPUT 50%, CACHE HIT 80%; lamps: MODEL #400000" in out.read_text(),
                "the needles",
            )
            assert "TOKENS/MIN 48%" in out.read_text()
            publishing.end()
        wait_until(lambda: "CACHE HIT rest; lamps: STALL" in out.read_text().splitlines()[-1], "rest and STALL")

    rows = list(csv.DictReader(trace.read_text().splitlines()))
    assert {row["needle"] for row in rows} == {"fuel", "tach", "temperature", "boost"}
    times = [int(row["time_us"]) for row in rows if row["needle"] == "boost"]
    assert times == sorted(times)


def test_publisher_killed(claude: ClaudeHome, env: dict[str, str], tmp_path: Path) -> None:
    """A publisher that is killed leaves its will behind: the needles rest and STALL shines."""
    out = tmp_path / "sim.log"
    with simulated(out, env, "--micropython"), Publishing(tmp_path / "run", env=env) as publishing:
        claude.append(assistant(time.time(), 1))
        wait_until(lambda: "CACHE HIT 94%" in out.read_text(), "the needles")
        publishing.end(9)

        wait_until(lambda: "CACHE HIT rest; lamps: STALL" in out.read_text().splitlines()[-1], "rest and STALL")


def test_drawn_in_a_terminal(env: dict[str, str]) -> None:
    """In a terminal the cluster is drawn, and `q` ends it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(  # noqa: S606 - a terminal needs its own child
            sys.executable, PROGRAM, {**env, "TERM": "xterm", "LINES": "24", "COLUMNS": "100"}
        )
    seen = b""
    quitting = False
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # its end
            break
        if b"TOKENS/MIN" in seen and b"pulses, no faults" in seen and not quitting:
            quitting = True
            os.write(terminal, b"q")
    _, status = os.waitpid(pid, 0)

    assert quitting, seen[-2000:]
    assert os.waitstatus_to_exitcode(status) == 0


def test_trouble_is_said(env: dict[str, str], tmp_path: Path) -> None:
    """A trace that can't be written, a MicroPython that is missing, are said in one line."""
    done = call("sim", "--trace", str(tmp_path / "no" / "trace.csv"), env=env)
    assert (done.returncode, done.stderr.startswith("error: --trace")) == (1, True)

    done = call("sim", "--micropython", env={**env, "PATH": "/nowhere"})
    assert done.returncode == 1
    assert "no micropython on the PATH" in done.stderr


def test_reader_of_the_lines_ends(env: dict[str, str]) -> None:
    """Where the reader of its lines has read enough, `sim --lines` ends without a word."""
    with subprocess.Popen([*PROGRAM, "--lines"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sim:
        assert sim.stdout is not None
        assert sim.stderr is not None
        sim.stdout.readline()
        sim.stdout.close()
        said = sim.stderr.read()

    assert said == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_sim_leaves_nothing_behind(env: dict[str, str], broker: Mosquitto, number: int, code: int) -> None:
    """However `sim` ends, the virtual board's topics are gone and nothing but its lines was said."""
    with Listener(broker.port, "claude-gauge/device/#") as listener:
        sim = subprocess.Popen([*PROGRAM, "--lines"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener.wait(lambda received: received.payload == b"online")
        sim.send_signal(number)
        _, said = sim.communicate(timeout=PATIENCE_S)
        topics = {received.topic for received in listener.messages}
    with Listener(broker.port, "claude-gauge/device/#") as late:
        late.client.publish("claude-gauge/device/end", b"", qos=1)
        late.wait(lambda received: received.topic == "claude-gauge/device/end")
        left = [received.topic for received in late.messages if received.topic in topics]

    assert (sim.returncode, said, left) == (code, b"", [])
