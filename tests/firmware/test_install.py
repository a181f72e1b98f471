"""`claude-gauge firmware …` with the real mpremote, against a board made of MicroPython on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.firmware.boards import Sender, fresh
from tests.firmware.pty_board import PtyBoard
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device.build import firmware
from claude_gauge.apps.device.install import board_key
from claude_gauge.apps.device.serial_board import CHIPS

SECRET = "wifi-canary"


@pytest.fixture
def env(tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """Give an environment that knows the broker and the network's password."""
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk", "CLAUDE_GAUGE_WIFI_PASSWORD": SECRET}
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path, **own)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PtyBoard]:
    """A board with MicroPython and nothing else."""
    with PtyBoard(tmp_path / "flash") as running:
        yield running


def install(board: PtyBoard, env: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    """Install onto the board; the broker is on loopback for it, too."""
    return call("firmware", "install", "--port", board.port, "--host", "127.0.0.1", "--wifi", "home", *more, env=env)


def test_installed_board_connects(board: PtyBoard, env: dict[str, str], broker: Mosquitto) -> None:
    """One command puts the firmware onto a bare board; it starts, connects and shows the publisher's node."""
    with Listener(broker.port, "claude-gauge/device/#") as listener:
        done = install(board, env)
        assert done.returncode == 0, done.stderr
        assert "bytecode" in done.stdout

        online = listener.wait(lambda received: received.payload == b"online")
        assert online.topic == "claude-gauge/device/020000c1a0de/status"
    installed = {str(path.relative_to(board.flash)) for path in (board.flash / "gauge").iterdir()}
    assert installed == set(firmware())
    config = json.loads((board.flash / "config.json").read_text())
    assert config["wifi"] == {"ssid": "home", "password": SECRET}
    assert (config["node"], config["broker"]["port"]) == ("desk", broker.port)
    assert SECRET not in done.stdout + done.stderr


def test_installed_again_keeps_the_wiring(board: PtyBoard, env: dict[str, str]) -> None:
    """A second installation replaces old files and settings, but not the board's pins and calibration."""
    own = {"movement": "servo", "needles": {"fuel": {"pins": [13], "zero": 5}}, "wifi": {"ssid": "old"}, "node": "x"}
    (board.flash / "config.json").write_text(json.dumps(own))
    (board.flash / "gauge").mkdir()
    (board.flash / "gauge" / "app.py").write_text("raise SystemExit")
    (board.flash / "slot-a" / "gauge").mkdir(parents=True)
    done = install(board, env, "--sources", "--show", "all")
    assert done.returncode == 0, done.stderr

    config = json.loads((board.flash / "config.json").read_text())
    assert (config["movement"], config["needles"]["fuel"]) == ("servo", {"pins": [13], "zero": 5})
    assert (config["node"], config["wifi"]["ssid"]) == ("all", "home")
    assert not (board.flash / "slot-a").exists()
    assert "SystemExit" not in (board.flash / "gauge" / "app.py").read_text()


def test_config_alone(board: PtyBoard, env: dict[str, str]) -> None:
    """Settings change without touching the firmware; the board starts again with them."""
    assert install(board, env).returncode == 0
    wait_until(lambda: board.resets == 1, "the first start")
    before = (board.flash / "gauge" / "app.mpy").stat().st_mtime_ns
    more = {**env, "CLAUDE_GAUGE_REDLINE": "2000000"}
    done = call("firmware", "config", "--port", board.port, "--host", "10.0.0.9", env=more)
    assert done.returncode == 0, done.stderr

    config = json.loads((board.flash / "config.json").read_text())
    assert (config["broker"]["host"], config["tach_high"]) == ("10.0.0.9", 2_500_000)
    assert config["wifi"]["password"] == SECRET
    assert (board.flash / "gauge" / "app.mpy").stat().st_mtime_ns == before
    wait_until(lambda: board.resets == 2, "the second start")


def test_selftest(board: PtyBoard, env: dict[str, str]) -> None:
    """The self-test tries all lamps and needles, says so, and starts the firmware again."""
    short = {name: {"span": 20} for name in ("fuel", "tach", "temperature", "boost")}  # short ways, for the test's sake
    (board.flash / "config.json").write_text(json.dumps({"needles": short}))
    assert install(board, env).returncode == 0
    wait_until(lambda: board.resets == 1, "the first start")
    done = call("firmware", "selftest", "--port", board.port, env=env)
    assert done.returncode == 0, done.stderr

    said = [line for line in done.stdout.splitlines() if line.startswith("selftest:")]
    assert [line.split()[2] for line in said if "needle" in line] == ["fuel", "tach", "temperature", "boost"]
    assert sum("lamp" in line for line in said) == 7
    assert said[-1] == "selftest: done"
    assert "@fault" not in done.stdout
    wait_until(lambda: board.resets == 2, "the firmware's start")


def test_logs(board: PtyBoard, env: dict[str, str], broker: Mosquitto) -> None:
    """What the running firmware says comes over the cable."""
    assert install(board, env).returncode == 0
    command = [sys.executable, "-m", "claude_gauge", "firmware", "logs", "--port", board.port]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as logs, Sender(broker.port) as sender:
        assert logs.stdout
        sender.send(fresh(window_5h_pct=0.5))
        line = ""
        while "@lamps" not in line and "link: connected" not in line:
            line = logs.stdout.readline()
            assert line
        logs.terminate()


def test_without_wifi_it_asks_over_its_own(board: PtyBoard, env: dict[str, str]) -> None:
    """A board that was given no network is installed all the same: it will open the set-up page."""
    done = call("firmware", "install", "--port", board.port, "--host", "127.0.0.1", env=env)

    assert done.returncode == 0, done.stderr
    assert "it will ask for one" in done.stdout
    assert json.loads((board.flash / "config.json").read_text())["broker"]["host"] == ""


def test_no_board(tmp_path: Path, env: dict[str, str]) -> None:
    """A port that does not exist is said in one line."""
    done = call("firmware", "install", "--port", str(tmp_path / "none"), "--host", "h", env=env)

    assert done.returncode == 1
    assert done.stderr.startswith("error: port ")
    assert len(done.stderr.splitlines()) == 1


def test_blank_board(env: dict[str, str]) -> None:
    """A board that does not answer is taken for one without MicroPython: what to download and how to flash it."""
    master, slave = os.openpty()
    try:
        done = call("firmware", "install", "--port", os.ttyname(slave), "--host", "h", env=env)
    finally:
        os.close(master)
        os.close(slave)

    assert done.returncode == 1
    assert "https://micropython.org/download/ESP32_GENERIC/" in done.stderr
    assert "write-flash 0x1000" in done.stderr
    assert set(CHIPS) >= {"ESP32", "ESP32-S3", "ESP32-C3"}


def test_broker_on_loopback_is_named_by_its_address(board: PtyBoard, env: dict[str, str]) -> None:
    """A broker on `localhost` is this machine's address for the board, or the person is asked for it."""
    done = call("firmware", "install", "--port", board.port, "--wifi", "home", env=env)

    if done.returncode == 0:
        assert json.loads((board.flash / "config.json").read_text())["broker"]["host"] not in ("localhost", "127.0.0.1")
    else:
        assert "--host" in done.stderr


def test_websocket_broker_is_refused(env: dict[str, str]) -> None:
    """The board speaks no websockets: that is said before anything is touched."""
    more = {**env, "CLAUDE_GAUGE_BROKER": "wss://example.org/mqtt"}
    done = call("firmware", "install", "--port", "/dev/null", env=more)

    assert done.returncode == 1
    assert "websockets" in done.stderr


def test_client_certificate_is_refused(env: dict[str, str], tmp_path: Path) -> None:
    """The board knows no client certificates: that is said before anything is touched."""
    more = {**env, "CLAUDE_GAUGE_BROKER_CERT": str(tmp_path / "cert")}
    done = call("firmware", "install", "--port", "/dev/null", "--host", "h", env=more)

    assert done.returncode == 1
    assert "a user and a password instead" in done.stderr


def test_board_with_a_name_and_a_user(board: PtyBoard, env: dict[str, str]) -> None:
    """A board gets its own name and its own user at the broker, not the publisher's."""
    own = {"CLAUDE_GAUGE_BROKER": "mqtt://desk@10.0.0.2", "CLAUDE_GAUGE_BROKER_PASSWORD": "publishers-canary"}
    more = {**env, **own, "CLAUDE_GAUGE_DEVICE_PASSWORD": "devices"}
    done = call("firmware", "install", "--port", board.port, "--wifi", "home", "--device", "shelf", env=more)
    assert done.returncode == 0, done.stderr

    config = (board.flash / "config.json").read_text()
    assert "canary" not in config.replace(SECRET, "")
    assert json.loads(config)["id"] == "shelf"
    assert json.loads(config)["broker"] == {
        "host": "10.0.0.2",
        "port": 1883,
        "user": "shelf",
        "password": "devices",
        "ca": "",
    }


def test_device_key_is_for_us_alone(board: PtyBoard, env: dict[str, str]) -> None:
    """The master key is made once and stays with its owner; the board gets one that is derived for it alone."""
    assert install(board, env).returncode == 0
    key = Path(env["CLAUDE_GAUGE_STATE_DIR"]) / "device-key"
    master = key.read_text().strip()

    assert key.stat().st_mode & 0o077 == 0
    text = (board.flash / "config.json").read_text()
    assert json.loads(text)["ota_key"] == board_key(master, "020000c1a0de") != board_key(master, "shelf")
    assert master not in text
