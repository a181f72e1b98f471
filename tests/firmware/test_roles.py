"""A board and its updates at a broker where each user may do only what its role needs; and in a real Home Assistant."""

from __future__ import annotations

from pathlib import Path

from tests.firmware.boards import Sender, board, fresh, linked, reported, rests, shows
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.broker.folder import password_line
from claude_gauge.apps.broker.roles import Role, User, acl
from claude_gauge.apps.device.build import firmware, version
from claude_gauge.apps.device.install import board_key
from claude_gauge.apps.device.update import messages

PASSWORD = "correct horse"
USERS = [
    User(name="desk", role=Role.PUBLISHER),
    User(name="shelf", role=Role.DEVICE, announces=True),
    User(name="workshop", role=Role.UPDATER),
    User(name="viewer", role=Role.VIEWER),
]


def test_roles_are_enough_for_a_device(tmp_path: Path) -> None:
    """A device's role lets it show, report, announce itself and be updated by an updater."""
    (tmp_path / "acl").write_text(acl(USERS, "homeassistant") + "\nuser root\ntopic readwrite #\n")
    lines = [password_line(name, PASSWORD) + "\n" for name in (*(user.name for user in USERS), "root")]
    (tmp_path / "passwords").write_text("".join(lines))
    for name in ("acl", "passwords"):
        (tmp_path / name).chmod(0o600)
    conf = [f"acl_file {tmp_path / 'acl'}", f"password_file {tmp_path / 'passwords'}"]
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER_PASSWORD=PASSWORD)
    key = Path(env["CLAUDE_GAUGE_STATE_DIR"]) / "device-key"
    key.parent.mkdir()
    key.write_text("k" * 64)
    login = {"user": "shelf", "password": PASSWORD}
    with (
        Mosquitto(tmp_path / "broker", *conf, anonymous=False) as broker,
        Listener(broker.port, user="root", password=PASSWORD) as listener,
        board(
            tmp_path / "flash", broker.port, id="shelf", broker=login, ota_key=board_key("k" * 64, "shelf"), prove_s=1
        ) as gauge,
        Sender(broker.port, user="desk", password=PASSWORD) as sender,
    ):
        linked(gauge)
        sender.send(fresh(window_5h_pct=0.5))
        shows(gauge, 0.5, 0, 0, 0)
        listener.wait(
            lambda received: received.topic == "claude-gauge/device/shelf/status" and received.payload == b"online"
        )
        listener.wait(lambda received: received.topic == "homeassistant/device/claude_gauge_device_shelf/config")

        done = call("firmware", "update", "--broker", f"mqtt://workshop@127.0.0.1:{broker.port}", env=env)
        assert done.stdout.splitlines()[-1:] == [f"running {version()}"], done.stderr


def test_home_assistant_takes_the_device(broker: Mosquitto, tmp_path: Path) -> None:
    """A real Home Assistant makes a device with its diagnostics of what the board announces."""
    with RunningHomeAssistant(tmp_path / "home") as home, board(tmp_path / "flash", broker.port, id="shelf") as gauge:
        linked(gauge)
        home.connect(broker.port)

        def shown() -> dict[str, str]:
            return {name.rpartition("shelf_")[2]: state.state for name, state in home.states("shelf").items()}

        wait_until(lambda: shown().get("sessions") == "1" and len(shown()) == 10, "its entities and their states")
        assert int(shown()["free_memory"]) > 0
        assert shown()["signal"] == "unknown"
        keys = ("manufacturer", "sw_version", "connections")
        said = home.render(
            "".join(f"{{{{ [device_attr('sensor.claude_gauge_shelf_signal', '{key}')] }}}}" for key in keys)
        )
        assert "'claude-gauge'" in said
        assert f"'{version()}'" in said
        assert "02:00:00:c1:a0:de" in said
        assert home.complaints() == []


def test_looked_after_from_home_assistant(broker: Mosquitto, tmp_path: Path) -> None:
    """In a real Home Assistant: brightness and night hours stay, Identify sweeps, Install updates, Restart restarts."""
    master = "k" * 64
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk"}
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, **own)
    key = Path(env["CLAUDE_GAUGE_STATE_DIR"]) / "device-key"
    key.parent.mkdir()
    key.write_text(master)
    flash = tmp_path / "flash"
    with (
        RunningHomeAssistant(tmp_path / "home") as home,
        board(flash, broker.port, id="shelf", ota_key=board_key(master, "shelf"), prove_s=1) as gauge,
    ):
        linked(gauge)
        home.connect(broker.port)
        entity = "claude_gauge_shelf_"
        home.wait_state(f"number.{entity}brightness", "50")
        rests(gauge)

        home.post("services/number/set_value", {"entity_id": f"number.{entity}brightness", "value": 20})
        home.wait_state(f"number.{entity}brightness", "20")
        home.post("services/text/set_value", {"entity_id": f"text.{entity}night_hours", "value": "22:00-07:00"})
        home.wait_state(f"text.{entity}night_hours", "22:00-07:00")
        kept = reported((flash / "config.json").read_text())["lamps"]
        assert (kept["brightness"], kept["night"]) == (0.2, ["22:00", "07:00", 0.1])

        home.post("services/button/press", {"entity_id": f"button.{entity}identify"})
        assert gauge.wait(lambda: min(gauge.shares()) > 0.99), gauge.shares()
        rests(gauge)

        done = call("firmware", "update", "--offer", env=env)
        assert done.returncode == 0, done.stderr
        home.wait_state(f"update.{entity}firmware", "off")  # it is the version that runs: nothing is new
        home.post("services/button/press", {"entity_id": f"button.{entity}restart"})
        assert gauge.wait(lambda: gauge.starts == 2), gauge.log
        assert home.complaints() == []


def test_update_that_is_offered_waits_for_the_button(broker: Mosquitto, tmp_path: Path) -> None:
    """An offer shows in a real Home Assistant, and its Install button, not the offer, starts the signed update."""
    files = {**firmware(None), "gauge/__init__.py": b'VERSION = "9.9.9"\n'}
    with (
        RunningHomeAssistant(tmp_path / "home") as home,
        board(tmp_path / "flash", broker.port, id="shelf", ota_key="k" * 64, prove_s=1) as gauge,
        Sender(broker.port) as sender,
    ):
        linked(gauge)
        home.connect(broker.port)
        for topic, payload in messages("shelf", "k" * 64, files, version="9.9.9", serial=100, offer=True).items():
            sender.send(payload, topic=topic)
        home.wait_state("update.claude_gauge_shelf_firmware", "on")
        assert (
            home.states("update.claude_gauge_shelf")["update.claude_gauge_shelf_firmware"].attributes["latest_version"]
            == "9.9.9"
        )
        assert gauge.starts == 1

        home.post("services/update/install", {"entity_id": "update.claude_gauge_shelf_firmware"})
        assert gauge.wait(lambda: any("ota: running 9.9.9" in line for line in gauge.log)), gauge.log
        home.wait_state("update.claude_gauge_shelf_firmware", "off")
