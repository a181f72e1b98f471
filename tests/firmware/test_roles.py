"""A board and its updates at a broker where each user may do only what its role needs; and in a real Home Assistant."""

from __future__ import annotations

from pathlib import Path

from tests.firmware.boards import Sender, board, fresh, linked, shows
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until
from tests.support.publisher import environment, run
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.broker.folder import password_line
from claude_gauge.apps.broker.roles import Role, User, acl
from claude_gauge.apps.device.update import version

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
        board(tmp_path / "flash", broker.port, id="shelf", broker=login, ota_key="k" * 64, prove_s=1) as gauge,
        Sender(broker.port, user="desk", password=PASSWORD) as sender,
    ):
        linked(gauge)
        sender.send(fresh(window_5h_pct=0.5))
        shows(gauge, 0.5, 0, 0, 0)
        listener.wait(lambda heard: heard.topic == "claude-gauge/device/shelf/status" and heard.payload == b"online")
        listener.wait(lambda heard: heard.topic == "homeassistant/device/claude_gauge_device_shelf/config")

        done = run("firmware", "update", "--broker", f"mqtt://workshop@127.0.0.1:{broker.port}", env=env)
        assert done.stdout.splitlines()[-1:] == [f"running {version()}"], done.stderr


def test_home_assistant_takes_the_device(broker: Mosquitto, tmp_path: Path) -> None:
    """A real Home Assistant makes a device with its diagnostics of what the board announces."""
    with RunningHomeAssistant(tmp_path / "home") as home, board(tmp_path / "flash", broker.port, id="shelf") as gauge:
        linked(gauge)
        home.connect(broker.port)

        def shown() -> dict[str, str]:
            return {name.rpartition("shelf_")[2]: state.state for name, state in home.states("shelf").items()}

        wait_until(lambda: shown().get("sessions") == "1" and len(shown()) == 5, "five entities and their states", 60)
        assert int(shown()["free_memory"]) > 0
        assert shown()["signal"] == "unknown"
        assert home.complaints() == []
