"""Home Assistant, a publisher and the fleet at a broker that lets each of them do only what its role may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.outlets.homeassistant.conftest import BUSY, node
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Mosquitto
from tests.support.net import wait_until

from claude_gauge.apps.broker.folder import password_line
from claude_gauge.apps.broker.roles import Role, User, acl

PASSWORD = "correct horse"
USERS = [
    User(name="desk", role=Role.PUBLISHER),
    User(name="all", role=Role.FLEET),
    User(name="homeassistant", role=Role.HOMEASSISTANT),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningHomeAssistant, Mosquitto]]:
    """Home Assistant and a broker with a user for each."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "acl").write_text(acl(USERS, "homeassistant"))
    (folder / "passwords").write_text("".join(password_line(user.name, PASSWORD) + "\n" for user in USERS))
    lines = [f"acl_file {folder / 'acl'}", f"password_file {folder / 'passwords'}"]
    with (
        Mosquitto(folder / "broker", *lines, anonymous=False) as broker,
        RunningHomeAssistant(folder / "homeassistant") as home,
    ):
        home.connect(broker.port, username="homeassistant", password=PASSWORD)
        yield home, broker


def test_roles_are_enough(home: RunningHomeAssistant, house_broker: Mosquitto) -> None:
    """With no more rights than their roles, a node and the fleet show in Home Assistant, one below the other."""
    above = "{{ device_attr(device_attr('sensor.claude_gauge_desk_rate_1m', 'via_device_id') or 'none', 'name') }}"
    with node(house_broker, "desk", PASSWORD) as desk, node(house_broker, "all", PASSWORD) as fleet:
        desk.say(BUSY)
        fleet.say(BUSY.model_copy(update={"hot_node": "desk"}))
        home.wait_state(desk.entity("sensor", "rate_1m"), "1230")
        home.wait_state("sensor.claude_gauge_all_hot_node", "desk")

        wait_until(lambda: home.render(above) == "Claude Code fleet", "the node's device below the fleet's")


def test_removed_by_its_publisher(home: RunningHomeAssistant, house_broker: Mosquitto, tmp_path: Path) -> None:
    """A publisher's own user may take its device away, its password from a file."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    command = [sys.executable, "-m", "claude_gauge", "discovery", "remove", "--node", "desk"]
    command += ["--broker", house_broker.url.replace("//", "//desk@")]
    command += ["--broker-password-file", str(tmp_path / "password")]
    with node(house_broker, "desk", PASSWORD) as desk:
        desk.say(BUSY)
        home.wait_state(desk.entity("sensor", "rate_1m"), "1230")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    wait_until(lambda: not home.states("claude_gauge_desk"), "its entities to be gone")

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "removed desk from Home Assistant and from the broker\n",
        "",
    )


def test_fleet_command(house_broker: Mosquitto, home: RunningHomeAssistant, tmp_path: Path) -> None:
    """`claude-gauge fleet` works with the fleet's role alone."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    command = [sys.executable, "-m", "claude_gauge", "fleet", "--broker", house_broker.url.replace("//", "//all@")]
    command += ["--broker-password-file", str(tmp_path / "password"), "--state-dir", str(tmp_path / "state")]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as fleet,
        node(house_broker, "desk", PASSWORD) as desk,
    ):
        try:
            desk.say(BUSY.model_copy(update={"rate_1m": 4321}))
            home.wait_state("sensor.claude_gauge_all_rate_1m", "4320")
        finally:
            fleet.terminate()
        said = fleet.stderr.read() if fleet.stderr else ""

    assert "WARNING" not in said
    assert "desk is here" in said
