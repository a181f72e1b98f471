from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, wait_until
from tests.support.payloads import usage
from tests.support.tmux import Terminal

COMMAND = [sys.executable, "-m", "claude_gauge", "watch", "--node", "studio"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A clean environment with a home folder of the test's own."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the name of tmux's socket has little room."""
    with tempfile.TemporaryDirectory(prefix="gauge-") as short:
        yield Path(short)


def publish(broker: Mosquitto, payload: bytes, *, status: bytes = b"online") -> None:
    """Publish as a publisher does: retained."""
    with Listener(broker.port) as publisher:
        for topic, value in (("claude-gauge/studio/status", status), ("claude-gauge/studio/usage", payload)):
            publisher.client.publish(topic, value, qos=1, retain=True).wait_for_publish(PATIENCE_S)


def test_live(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """The screen follows the topic, says stale when the publisher goes offline, and `q` gives the terminal back."""
    publish(broker, usage(window_5h_pct=0.42).to_json())
    with Terminal(folder, [*COMMAND, "--broker", broker.url], env) as terminal:
        first = terminal.wait("42 %")
        publish(broker, usage(window_5h_pct=0.97, last_model="haiku").to_json())
        second = terminal.wait("97 %")
        publish(broker, usage(window_5h_pct=0.97).to_json(), status=b"offline")
        stale = terminal.wait("STALE: publisher offline")
        terminal.press("q")

        assert terminal.code() == 0
        assert "LIVE" in first
        assert "● HAIKU" in second
        assert "97 %" not in stale
        assert "CLAUDE GAUGE" not in terminal.screen()


def test_dumb_terminal(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """A terminal that can't move its cursor is not drawn on: `watch` says what to type, `sim` prints lines."""
    dumb = ["env", "TERM=dumb", sys.executable, "-m", "claude_gauge"]
    with Terminal(folder / "a", [*dumb, "watch", "--broker", broker.url], env) as terminal:
        assert terminal.code() == 1
    with Terminal(folder / "b", [*dumb, "sim", "--broker", broker.url], env) as terminal:
        lines = terminal.wait("cluster: 5H PLAN")

    assert "watch --once" in (folder / "a" / "stderr").read_text()
    assert "q quits" not in lines


def test_resize(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """A resized terminal is drawn again at once: dials where they fit, bars where they don't."""
    publish(broker, usage().to_json())
    with Terminal(folder, [*COMMAND, "--broker", broker.url], env) as terminal:
        terminal.wait("42 %")
        terminal.resize(50, 12)
        small = terminal.wait("━")
        terminal.resize(150, 45)
        large = terminal.wait("1250")

    assert max(map(len, small.split("\n"))) <= 50
    assert "━" not in large


def test_no_colour_and_ascii(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """NO_COLOR takes every colour away, --ascii every other character."""
    publish(broker, usage().to_json())
    with Terminal(folder, [*COMMAND, "--ascii", "--broker", broker.url], {**env, "NO_COLOR": "1"}) as terminal:
        screen = terminal.wait("42 %")

        assert screen.isascii()
        assert "\x1b[3" not in terminal.screen(colours=True)


def test_broker_goes_and_comes(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """Without the broker the picture is stale and says which broker; with it back, it lives again by itself."""
    publish(broker, usage().to_json())
    with Terminal(folder, [*COMMAND, "--broker", broker.url], env) as terminal:
        terminal.wait("42 %")
        broker.kill()
        terminal.wait("STALE")
        terminal.wait(f"127.0.0.1:{broker.port}")
        wait_until(lambda: "42 %" not in terminal.screen(), "a screen without the old figure")  # tmux draws row by row
        broker.start()
        publish(broker, usage(window_5h_pct=0.5).to_json())

        assert terminal.wait("50 %")


def test_ctrl_c(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """Ctrl-C ends it with 130, and the terminal is as before."""
    publish(broker, usage().to_json())
    with Terminal(folder, [*COMMAND, "--broker", broker.url], env) as terminal:
        terminal.wait("42 %")
        terminal.press("C-c")

        assert terminal.code() == 130
        assert "CLAUDE GAUGE" not in terminal.screen()


def test_ctrl_z(broker: Mosquitto, env: dict[str, str], folder: Path) -> None:
    """Ctrl-Z gives the shell its terminal back, and `fg` draws the cluster again."""
    publish(broker, usage().to_json())
    with Terminal(folder, ["bash", "-c", "PS1='shell> ' exec bash --norc -i 2>/dev/tty"], env) as terminal:
        terminal.wait("shell>")
        terminal.press(f"{shlex.join(COMMAND)} --broker {broker.url}", "Enter")
        terminal.wait("42 %")
        terminal.press("C-z")
        suspended = terminal.wait("Stopped")
        terminal.press("fg", "Enter")
        again = terminal.wait("42 %")
        terminal.press("q")
        terminal.wait("shell>")

    assert "CLAUDE GAUGE" not in suspended
    assert "LIVE" in again


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `watch` without a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_once(broker: Mosquitto, env: dict[str, str]) -> None:
    """`--once` prints one picture without a single escape code when it goes into a pipe."""
    publish(broker, usage().to_json())
    done = run(env, "--once", "--broker", broker.url)

    assert done.returncode == 0
    assert "42 %" in done.stdout
    assert "\x1b" not in done.stdout


def test_once_without_a_publisher(broker: Mosquitto, env: dict[str, str]) -> None:
    """Where nobody published, `--once` says which topic at which broker is empty."""
    done = run(env, "--once", "--broker", broker.url)

    assert done.returncode == 1
    assert f"nothing at claude-gauge/studio/usage on 127.0.0.1:{broker.port}" in done.stderr


def test_no_terminal(broker: Mosquitto, env: dict[str, str]) -> None:
    """In a pipe, without --once, it says what to do instead."""
    done = run(env, "--broker", broker.url)

    assert done.returncode == 1
    assert "--once" in done.stderr


def test_tmux_is_there() -> None:
    """The real terminal that these tests need."""
    assert shutil.which("tmux"), "tmux is missing: run scripts/setup"
