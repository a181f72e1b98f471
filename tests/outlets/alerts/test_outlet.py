"""Alerts reported for real: a command, a broker, a desktop."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.apps.fleet.conftest import NOW
from tests.outlets.alerts.test_decide import at
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, wait_until
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.alerts.decide import Alert, Memory
from claude_gauge.outlets.alerts.outlet import Alerts, notify, run
from claude_gauge.outlets.alerts.outlet import environment as alert_environment

FIGURES = ["TEXT", "THRESHOLD", "SHARE", "PERCENT", "NODE", "ACCOUNT", "MODEL", "RESETS_AT", "MINUTES_TO_LIMIT"]
FIGURES += ["LIMIT_NAME", "LIMIT_PCT"]
ODD = 'it\'s "$(touch pwned)"; `id` ; rm -rf <b>&amp;'


@contextmanager
def alerts(broker: Mosquitto, folder: Path, command: str | None = None, *, connect: bool = True) -> Iterator[Alerts]:
    """Alerts at 80 and 95 %, with a link that lives as long as the `with`."""
    settings = Settings(
        broker=broker.url, node="studio", alerts=(0.8, 0.95), alert_command=command, state_dir=folder / "state"
    )
    link = Link(settings, status=None)
    outlet = Alerts(settings, link, clock=lambda: NOW)
    outlet.start()
    link.start()
    try:
        assert not connect or link.wait_connected(PATIENCE_S)
        yield outlet
    finally:
        outlet.stop()
        link.stop()


def test_topic_and_command(broker: Mosquitto, tmp_path: Path) -> None:
    """An alert is an event on its topic, not retained, and the command gets the figures by its environment."""
    out = tmp_path / "out put"
    script = f"import os, json; json.dump(dict(os.environ), open({str(out)!r} + '.new', 'w')); "
    script += f"os.rename({str(out)!r} + '.new', {str(out)!r})"
    with (
        Listener(broker.port) as listener,
        alerts(broker, tmp_path, f'"{sys.executable}" -c "{script}" # not a comment') as reported,
    ):
        reported(at(0.831, minutes_to_limit=12.5, node="studio"), b"")
        event = listener.wait(lambda m: m.topic == "claude-gauge/studio/alert")
        wait_until(out.exists, "the command's output")

    said, environ = json.loads(event.payload), json.loads(out.read_text())
    assert (event.retained, event.qos, said["event_type"], said["threshold"]) == (False, 1, "threshold", 0.8)
    assert (said["node"], said["window_5h_pct"]) == ("studio", 0.831)
    assert environ["CLAUDE_GAUGE_ALERT_PERCENT"] == "83"
    assert environ["CLAUDE_GAUGE_ALERT_MINUTES_TO_LIMIT"] == "12.5"
    assert environ["CLAUDE_GAUGE_ALERT_ACCOUNT"] == ""


def test_the_real_publisher(broker: Mosquitto, tmp_path: Path) -> None:
    """`claude-gauge publish` sends an alert when transcripts fill the window, and not again after a restart."""
    claude = ClaudeHome(tmp_path / "claude")
    out = tmp_path / "reported"
    more = ["--node", "studio", "--broker", broker.url, "--http", "off", "--ceiling-5h", "1000", "--alerts", "0.5,0.9"]
    more += ["--alert-command", f"sh -c 'echo $CLAUDE_GAUGE_ALERT_PERCENT >>{out}'"]
    env = environment(claude, tmp_path)
    with Listener(broker.port, "claude-gauge/studio/+") as listener:
        for number, percent in enumerate((60, 20, 15), 1):
            with Publishing(tmp_path / "log", *more, env=env) as publishing:
                claude.append(assistant(time.time(), number, tokens=(0, 10 * percent, 0, 0)))
                tokens = b'"window_5h_tokens":%d,' % (10 * sum((60, 20, 15)[:number]))
                listener.wait(lambda m, t=tokens: t in m.payload)  # type: ignore[misc]
                if number != 2:
                    wait_until(lambda n=number: out.exists() and out.read_text().count("\n") > n // 2, "the command")  # type: ignore[misc]
                assert publishing.end() == 0

    assert out.read_text().split() == ["60", "95"]


def test_restart(broker: Mosquitto, tmp_path: Path) -> None:
    """What was reported before a restart is not reported again; the next threshold is."""
    with Listener(broker.port) as listener:
        for share in (0.85, 0.86, 0.96):
            with alerts(broker, tmp_path) as reported:
                reported(at(share), b"")
                if share != 0.86:
                    threshold = 0.8 if share < 0.9 else 0.95
                    listener.wait(lambda m, t=threshold: json.loads(m.payload)["threshold"] == t)  # type: ignore[misc]

        assert [json.loads(m.payload)["threshold"] for m in listener.messages] == [0.8, 0.95]


def test_limit_beside_the_window(broker: Mosquitto, tmp_path: Path) -> None:
    """A model's own week that is full is reported by name, once, also over a restart."""
    with Listener(broker.port) as listener:
        for limit, share in (("seven_day_opus", 1.0), ("seven_day_opus", 1.0), ("spend_limit", 0.81)):
            with alerts(broker, tmp_path) as reported:
                reported(at(0.1, limit_name=limit, limit_pct=share), b"")
                listener.wait(lambda m, name=limit: json.loads(m.payload)["limit_name"] == name)  # type: ignore[misc]

        texts = [json.loads(m.payload)["text"] for m in listener.messages]
        assert texts == ["100 % of the limit seven_day_opus is used", "81 % of the limit spend_limit is used"]


def test_broker_away(broker: Mosquitto, tmp_path: Path) -> None:
    """An alert that finds no broker learns when the broker is there again."""
    broker.stop()
    with alerts(broker, tmp_path, connect=False) as reported:
        reported(at(0.85), b"")
        broker.start()
        with Listener(broker.port) as listener:
            listener.wait(lambda m: m.topic.endswith("/alert"))


def test_secrets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's command gets its own environment and the figures, but no setting of ours, above all no password."""
    monkeypatch.setenv("CLAUDE_GAUGE_BROKER_PASSWORD", "hunter2")
    outlet = alert_environment(Alert(0.8, at(0.9), NOW), os.environ)

    assert "hunter2" not in outlet.values()
    assert outlet["PATH"] == os.environ["PATH"]
    assert {name for name in outlet if name.startswith("CLAUDE_GAUGE_")} == {
        f"CLAUDE_GAUGE_ALERT_{name}" for name in FIGURES
    }


def test_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a command or a figure is ever run by a shell."""
    monkeypatch.chdir(tmp_path)
    run(["printf", ODD], Alert(0.8, at(0.9, last_model="$(touch pwned)"), NOW))

    assert list(tmp_path.glob("pwned")) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [(["/no/such/program"], "cannot run /no/such/program"), (["false"], "false ended with 1")],
)
def test_command_fails(command: list[str], words: str, caplog: pytest.LogCaptureFixture) -> None:
    """A command that fails is one warning."""
    with caplog.at_level(logging.WARNING):
        run(command, Alert(0.8, at(0.9), NOW))

    assert [words in record.getMessage() for record in caplog.records] == [True]


def test_command_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A command that hangs is ended with all that it started."""
    monkeypatch.setattr("claude_gauge.outlets.alerts.outlet.COMMAND_S", 0.5)
    pid = tmp_path / "pid"
    run(["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"], Alert(0.8, at(0.9), NOW))

    assert "was ended" in caplog.text
    wait_until(lambda: not _alive(int(pid.read_text())), "the command's child to end")


def _alive(pid: int) -> bool:
    """Whether a process still runs: one that has ended may wait for its parent to notice."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("stored", [b"", b"{", b"[]", b'{"threshold": "x"}', b"\xff", b'{"threshold": 0.8}'])
def test_broken_memory(stored: bytes, broker: Mosquitto, tmp_path: Path) -> None:
    """A memory that can't be read costs a repeated alert, never the publisher."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "studio.alerts.json").write_bytes(stored)
    with Listener(broker.port) as listener, alerts(broker, tmp_path) as reported:
        reported(at(0.85), b"")

        listener.wait(lambda m: m.topic.endswith("/alert"))


def test_state_folder_cannot_be_written(broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a place to remember, the alert is reported all the same, with a warning."""
    (tmp_path / "state").write_text("a file where the folder should be")
    with Listener(broker.port) as listener, alerts(broker, tmp_path) as reported:
        reported(at(0.85), b"")
        listener.wait(lambda m: m.topic.endswith("/alert"))

    assert "cannot write" in caplog.text


DESKTOP = """
Xvfb -displayfd 3 -screen 0 320x200x8 3>display >xvfb.log 2>&1 & x=$!
trap 'kill $x $d' EXIT
until [ -s display ]; do sleep 0.05; done
DISPLAY=:$(cat display) dunst >dunst.log 2>&1 & d=$!
until dunstctl count >/dev/null 2>&1; do sleep 0.05; done
"$@"
dunstctl close-all
dunstctl history
"""


def test_desktop(tmp_path: Path) -> None:
    """A real notification daemon shows the alert, odd letters and all, under the gauge's name."""
    assert shutil.which("dunst"), "dunst is missing: run scripts/setup"
    script = (
        "from tests.outlets.alerts.test_outlet import *; from tests.outlets.alerts.test_decide import at\n"
        "notify(Alert(0.8, at(0.83, node='studio'), NOW))"
    )
    desktop = ["dbus-run-session", "--", "timeout", "60", "bash", "-c", DESKTOP, "desktop"]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [*desktop, sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environ
    )
    (shown,) = json.loads(done.stdout)["data"][0]

    assert shown["appname"]["data"] == "claude-gauge"
    assert shown["summary"]["data"] == "Claude Code on studio"
    assert shown["body"]["data"].startswith("83 % of the 5-hour window is used")


def test_no_desktop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """On a machine without a desktop, nothing is said and nothing fails."""
    monkeypatch.setenv("PATH", "/nonexistent")
    notify(Alert(0.8, at(0.9), NOW))
    monkeypatch.undo()
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    notify(Alert(0.8, at(0.9), NOW))

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "kept", ['{"threshold": 0.95, "ends": 1e300, "source": "plan"}', '{"threshold": 9, "ends": 1, "source": ""}']
)
def test_memory_that_cannot_be(kept: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A memory from a wrong clock, or with garbage, is ignored, and that is logged."""
    (tmp_path / "studio.alerts.json").write_text(kept)

    assert Memory(tmp_path, "studio").load(NOW) is None
    assert "ignored" in caplog.text
