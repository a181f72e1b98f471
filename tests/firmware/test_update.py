"""Updates over the air under the real MicroPython: signed, checked, tried, and taken back where they fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.firmware.boards import DEVICE, Sender, board, fresh, installed, linked, shows
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device.build import firmware, version
from claude_gauge.apps.device.install import board_key
from claude_gauge.apps.device.update import messages, topic_of
from claude_gauge.apps.device.virtual_board import VirtualBoard

KEY = "k" * 64
NEW = b'VERSION = "9.9.9"\n'
SOURCES = {**firmware(None), "gauge/__init__.py": NEW}


@pytest.fixture
def gauge(broker: Mosquitto, tmp_path: Path) -> Iterator[VirtualBoard]:
    """A connected board that takes updates, and trusts one after a second."""
    with board(tmp_path / "flash", broker.port, ota_key=KEY, prove_s=1) as running:
        linked(running)
        yield running


def publish(broker: Mosquitto, files: dict[str, bytes], *, key: str = KEY, serial: int = 100) -> None:
    """Publish an update."""
    with Sender(broker.port) as sender:
        for topic, payload in messages(DEVICE, key, files, version="9.9.9", serial=serial).items():
            sender.send(payload, topic=topic)


def said(gauge: VirtualBoard, text: str) -> None:
    """Wait until the board's log has a text."""
    assert gauge.wait(lambda: any(text in line for line in gauge.log)), gauge.log


def state(gauge: VirtualBoard) -> dict[str, object]:
    """Return what the board notes about its slots."""
    found: dict[str, object] = json.loads((gauge.flash / "ota.json").read_text())
    return found


def test_update_runs_and_is_trusted(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """A signed update is fetched, started, and trusted once it has been connected for long enough."""
    publish(broker, SOURCES)
    said(gauge, "gauge: version 9.9.9")
    said(gauge, "ota: running 9.9.9")
    assert (state(gauge)["slot"], state(gauge)["good"], state(gauge)["proven"]) == ("slot-a", "slot-a", True)
    with Sender(broker.port) as sender:
        sender.send(fresh(window_5h_pct=0.5))

        shows(gauge, 0.5, 0, 0, 0)


def test_second_update_takes_the_other_slot(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """The next update leaves the running copy alone; one that is not newer is not taken."""
    publish(broker, SOURCES)
    said(gauge, "ota: running 9.9.9")
    publish(broker, {**SOURCES, "gauge/__init__.py": b'VERSION = "8"\n'}, serial=99)
    publish(broker, {**SOURCES, "gauge/__init__.py": b'VERSION = "10"\n'}, serial=101)
    said(gauge, "ota: running 10")

    assert state(gauge)["good"] == "slot-b"
    assert not any("version 8" in line for line in gauge.log)


def test_foreign_signature_is_refused(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """An update that another key signed is refused, whoever published it."""
    publish(broker, SOURCES, key="x" * 64)
    said(gauge, "refused")

    assert gauge.starts == 1
    assert not (gauge.flash / "slot-a").exists()


def test_file_that_is_not_what_was_signed(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """A file that was changed on its way is noticed by its hash, and nothing is started."""
    reported = messages(DEVICE, KEY, SOURCES, version="9.9.9", serial=100)
    with Sender(broker.port) as sender:
        for topic, payload in reported.items():
            evil = topic != topic_of(DEVICE) and b"asyncio" in payload
            sender.send(payload.replace(b"asyncio", b"asynci0") if evil else payload, topic=topic)
    said(gauge, "is not what was signed")

    assert gauge.starts == 1


def test_update_that_does_not_load(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """An update that can't even be imported is dropped at once: the copy before it runs."""
    publish(broker, {**SOURCES, "gauge/app.py": b"def broken(:\n"})
    said(gauge, "does not load")
    linked(gauge, 2)

    assert state(gauge)["slot"] == ""
    assert gauge.starts == 2
    assert [line for line in gauge.log if "gauge: version" in line][-1].startswith(f"gauge: version {version()} ")


def test_update_that_crashes(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """An update that crashes is tried three times; then the copy before it runs again."""
    app = SOURCES["gauge/app.py"].replace(
        b"async def run(self) -> None:", b"async def run(self) -> None:\n        1 / 0"
    )
    publish(broker, {**SOURCES, "gauge/app.py": app})
    said(gauge, "back to the installed copy")
    linked(gauge, 2)

    assert sum("ZeroDivisionError" in line and "main:" in line for line in gauge.log) == 3
    assert state(gauge)["slot"] == ""


def test_update_that_never_connects(broker: Mosquitto, tmp_path: Path) -> None:
    """An update that runs but never reaches the broker gives itself up, and the copy before it runs again."""
    link = SOURCES["gauge/link.py"].replace(
        b"        await self._wifi.join(self._beat)", b"        raise OSError('no way')"
    )
    assert link != SOURCES["gauge/link.py"]
    with board(tmp_path / "flash", broker.port, ota_key=KEY, prove_s=0.5) as gauge:
        linked(gauge)
        publish(broker, {**SOURCES, "gauge/link.py": link})
        said(gauge, "back to the installed copy")

        linked(gauge, 2)


def test_update_from_the_future(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """An update that was signed under a wrong clock is refused, and bars none that follow."""
    publish(broker, SOURCES, serial=4_000_000_000)
    said(gauge, "signed in the future")
    publish(broker, SOURCES, serial=int(time.time()))

    said(gauge, "ota: running 9.9.9")


def test_board_that_took_one_from_the_future(broker: Mosquitto, tmp_path: Path) -> None:
    """A board that noted a number from the future, once, takes updates again."""
    flash = tmp_path / "flash"
    flash.mkdir()
    (flash / "ota.json").write_text(json.dumps({"serial": 4_000_000_000}))
    with board(flash, broker.port, ota_key=KEY, prove_s=1) as gauge:
        linked(gauge)
        publish(broker, SOURCES, serial=int(time.time()))

        said(gauge, "ota: running 9.9.9")


def slot(flash: Path, name: str, app: bytes) -> None:
    """Put a copy of the firmware into a slot, with an app of the test's choice."""
    (flash / name / "gauge").mkdir(parents=True)
    for path, content in SOURCES.items():
        (flash / name / path).write_bytes(app if path == "gauge/app.py" else content)


def test_main_from_before(broker: Mosquitto, tmp_path: Path) -> None:
    """A main.py of an earlier installation, which no update replaces, starts this firmware, too."""
    flash = installed(tmp_path / "flash")
    start = 'def main() -> None:\n    app.start(settings.load("config.json"))\n'
    code = "from gauge import app, board, portal, settings\n\n\n" + start
    (flash / "main.py").write_text(code)
    with board(flash, broker.port) as gauge:
        linked(gauge)


def test_both_slots_bad(broker: Mosquitto, tmp_path: Path) -> None:
    """With an update that does not load, and a copy before it that does not either, the installed one runs."""
    flash = tmp_path / "flash"
    gauge = board(flash, broker.port, ota_key=KEY)
    for name in ("slot-a", "slot-b"):
        slot(flash, name, b"def broken(:\n")
    (flash / "ota.json").write_text(json.dumps({"slot": "slot-b", "good": "slot-a", "proven": False}))
    with gauge:
        linked(gauge)

        assert gauge.starts == 1
        assert (state(gauge)["slot"], state(gauge)["good"]) == ("", "")


def test_good_copy_that_crashes(broker: Mosquitto, tmp_path: Path) -> None:
    """A copy that was trusted, and crashes at every start since, is left for the installed one."""
    flash = tmp_path / "flash"
    gauge = board(flash, broker.port, ota_key=KEY)
    slot(
        flash, "slot-a", SOURCES["gauge/app.py"].replace(b"    chip = chips.name", b"    1 / 0\n    chip = chips.name")
    )
    (flash / "ota.json").write_text(json.dumps({"slot": "slot-a", "good": "slot-a", "proven": True}))
    with gauge:
        linked(gauge)

        assert gauge.starts == 4
        assert sum("ZeroDivisionError" in line and "main:" in line for line in gauge.log) == 3


def test_all_boards_and_those_that_are_gone(broker: Mosquitto, tmp_path: Path) -> None:
    """`--all` updates every board with the key of its own; `list` names them, `forget` takes one away."""
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk"}
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, **own)
    key = Path(env["CLAUDE_GAUGE_STATE_DIR"]) / "device-key"
    key.parent.mkdir(exist_ok=True)
    key.write_text(KEY + "\n")
    with (
        board(tmp_path / "one", broker.port, id="shelf", ota_key=board_key(KEY, "shelf"), prove_s=1) as one,
        board(tmp_path / "two", broker.port, id="desk", ota_key=board_key(KEY, "desk"), prove_s=1) as two,
    ):
        linked(one)
        linked(two)
        done = call("firmware", "update", "--all", env=env)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if "running" in line] == [
            f"desk: running {version()}",
            f"shelf: running {version()}",
        ]
        assert "shelf: fetching" in done.stdout
        assert " 50 %" in done.stdout or " 48 %" in done.stdout
        with Listener(broker.port) as listener:  # no board's topic
            listener.client.publish("claude-gauge/device/status", b"online", qos=1, retain=True).wait_for_publish(5)
        listed = call("firmware", "list", env=env).stdout.splitlines()
        assert [line.split(",")[:2] for line in listed] == [["desk", " online"], ["shelf", " online"]]
        assert f"version {version()}, ESP32" in listed[0]

    assert call("firmware", "forget", "shelf", env=env).stdout == "forgot shelf\n"
    assert call("firmware", "list", env=env).stdout.startswith("desk, offline")
    with Listener(broker.port) as listener:
        listener.wait(lambda received: received.topic == "claude-gauge/device/desk/status")
        assert not [received for received in listener.messages if "shelf" in received.topic]


def test_power_cut_in_mid_update(broker: Mosquitto, tmp_path: Path) -> None:
    """A board that loses its power while it fetches runs what it had, and fetches again."""
    flash = tmp_path / "flash"
    with board(flash, broker.port, ota_key=KEY, prove_s=1) as gauge:
        linked(gauge)
        reported = messages(DEVICE, KEY, SOURCES, version="9.9.9", serial=100)
        with Sender(broker.port) as sender:
            sender.send(reported[topic_of(DEVICE)], topic=topic_of(DEVICE))
            said(gauge, "ota: fetching")
            gauge.stop()
            for topic, payload in reported.items():
                sender.send(payload, topic=topic)
    with board(flash, broker.port, ota_key=KEY, prove_s=1) as gauge:
        said(gauge, f"gauge: version {version()}")
        said(gauge, "ota: running 9.9.9")


def test_the_command(broker: Mosquitto, tmp_path: Path) -> None:
    """`claude-gauge firmware update` finds the device, updates it, watches it start, and leaves nothing behind."""
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk"}
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, **own)
    done = call("firmware", "update", env=env)
    assert (done.returncode, "online: none" in done.stderr) == (1, True)
    done = call("firmware", "update", "--device", "sim0123abcd", env=env)
    assert (done.returncode, "sim0123abcd is a `claude-gauge sim`" in done.stderr) == (1, True)

    key = (Path(env["CLAUDE_GAUGE_STATE_DIR"])) / "device-key"
    key.parent.mkdir(exist_ok=True)
    key.write_text(KEY + "\n")
    with board(tmp_path / "flash", broker.port, ota_key=KEY, prove_s=1) as gauge:
        linked(gauge)
        done = call("firmware", "update", env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"running {version()}"
        assert any(path.suffix == ".mpy" for path in (gauge.flash / "slot-a" / "gauge").iterdir())
