"""Home Assistant, a publisher and the fleet at a broker that lets each of them do only what its role may."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import ViewportSize
from pydantic import SecretStr
from tests.outlets.homeassistant.conftest import BUSY, node
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Mosquitto
from tests.support.net import wait_until
from tests.support.page import chromium
from tests.support.publisher import Publishing
from tests.support.transcripts import ClaudeHome, assistant
from tests.support.users import PASSWORD, closed, signing_in

from claude_gauge.apps.broker.roles import Role, User
from claude_gauge.config import Settings
from claude_gauge.contract.usage import status_topic
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.outlets.homeassistant.discovery import entities
from claude_gauge.outlets.homeassistant.numbers import Numbers

pytestmark = pytest.mark.xdist_group("homeassistant-closed")  # what they share is slow to begin

# Whether anything of the text of this name lies under something else, or is cut off, in the row.
COVERED = """(row, name) => {
  const texts = (root) => [...root.querySelectorAll("*")].flatMap((each) => [
    ...each.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim() === name).concat(
    each.shadowRoot ? texts(each.shadowRoot) : []));
  const range = document.createRange();
  range.selectNodeContents(texts(row.shadowRoot).concat(texts(row))[0]);
  const box = range.getBoundingClientRect();
  const field = [...row.shadowRoot.querySelectorAll("ha-textfield, ha-input")][0].getBoundingClientRect();
  return box.right > field.left || box.width < 1;
}"""
USERS = [
    User(name="desk", role=Role.PUBLISHER),
    User(name="real", role=Role.PUBLISHER),
    User(name="all", role=Role.FLEET),
    User(name="homeassistant", role=Role.HOMEASSISTANT),
]


@pytest.fixture(scope="module")
def broker_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningHomeAssistant, Mosquitto]]:
    """Home Assistant and a broker with a user for each."""
    folder = tmp_path_factory.mktemp("closed")
    with closed(folder / "closed", USERS) as broker, RunningHomeAssistant(folder / "homeassistant") as home:
        home.connect(broker.port, username="homeassistant", password=PASSWORD)
        yield home, broker


def test_roles_are_enough(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """With no more rights than their roles, a node and the fleet show in Home Assistant, one below the other."""
    above = "{{ device_attr(device_attr('sensor.claude_gauge_desk_rate_1m', 'via_device_id') or 'none', 'name') }}"
    with node(closed_broker, "desk", PASSWORD) as desk, node(closed_broker, "all", PASSWORD) as fleet:
        desk.say(BUSY)
        fleet.say(BUSY.model_copy(update={"hot_node": "desk"}))
        home.wait_state(desk.entity("sensor", "rate_1m"), "1230")
        home.wait_state("sensor.claude_gauge_all_hot_node", "desk")

        wait_until(lambda: home.render(above) == "Claude Code fleet", "the node's device below the fleet's")


def test_removed_by_its_publisher(home: RunningHomeAssistant, closed_broker: Mosquitto, tmp_path: Path) -> None:
    """A publisher's own user may take its device away, its password from a file."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    command = [sys.executable, "-m", "claude_gauge", "discovery", "remove", "--node", "desk"]
    command += ["--broker", closed_broker.url.replace("//", "//desk@")]
    command += ["--broker-password-file", str(tmp_path / "password")]
    with node(closed_broker, "desk", PASSWORD) as desk:
        desk.say(BUSY)
        home.wait_state(desk.entity("sensor", "rate_1m"), "1230")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    wait_until(lambda: not home.states("claude_gauge_desk"), "its entities to be gone")

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "removed desk from Home Assistant and from the broker\n",
        "",
    )


def test_fleet_command(closed_broker: Mosquitto, home: RunningHomeAssistant, tmp_path: Path) -> None:
    """`claude-gauge fleet` works with the fleet's role alone."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    command = [sys.executable, "-m", "claude_gauge", "fleet", "--broker", closed_broker.url.replace("//", "//all@")]
    command += ["--broker-password-file", str(tmp_path / "password"), "--state-dir", str(tmp_path / "state")]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as fleet,
        node(closed_broker, "desk", PASSWORD) as desk,
    ):
        try:
            desk.say(BUSY.model_copy(update={"rate_1m": 4321}))
            home.wait_state("sensor.claude_gauge_all_rate_1m", "4320")
        finally:
            fleet.terminate()
        said = fleet.stderr.read() if fleet.stderr else ""

    assert "WARNING" not in said
    assert "desk is here" in said


def _set(home: RunningHomeAssistant, name: str, value: float) -> None:
    home.post("services/number/set_value", {"entity_id": f"number.claude_gauge_real_{name}", "value": value})


def _covered(home: RunningHomeAssistant, *names: str) -> list[str]:
    """List the names that can't be read whole on the device's page on a phone, light or dark."""
    device = home.render("{{ device_id('number.claude_gauge_real_ceiling') }}")
    covered = []
    with chromium() as browser:
        schemes: list[Literal["light", "dark"]] = ["light", "dark"]
        for scheme in schemes:
            phone: ViewportSize = {"width": 390, "height": 2400}  # tall: what is not in sight is not drawn
            page = browser.new_context(color_scheme=scheme, viewport=phone).new_page()
            page.set_default_timeout(90_000)
            home.show(page, f"/config/devices/device/{device}", "hui-number-entity-row")
            for name in names:
                row = page.locator("hui-number-entity-row", has_text=name)
                row.wait_for()
                covered += [f"{name}, {scheme}"] * row.evaluate(COVERED, name)
    return covered


def test_numbers(home: RunningHomeAssistant, closed_broker: Mosquitto, tmp_path: Path) -> None:
    """Ceiling and redline are set in Home Assistant; fuel and HOT follow, and a restart of either side keeps them."""
    claude = ClaudeHome(tmp_path / "claude")
    claude.append(assistant(time.time(), 1, tokens=(10, 1224, 0, 0)))
    env = signing_in(closed_broker, "real", claude, tmp_path)
    fuel, hot = "sensor.claude_gauge_real_window_5h_pct", "binary_sensor.claude_gauge_real_hot"
    with Publishing(tmp_path / "log", env=env) as publisher:
        home.wait_state("number.claude_gauge_real_ceiling", "100000000")
        home.wait_state("number.claude_gauge_real_redline", "1000000")
        home.wait_state(fuel, "0.0")
        _set(home, "ceiling", 2468)
        home.wait_state(fuel, "50.0")
        home.wait_state("number.claude_gauge_real_ceiling", "2468")
        claude.append(assistant(time.time(), 2, tokens=(10, 1224, 0, 0)))
        home.wait_state(fuel, "100.0")
        _set(home, "redline", 1500.5)
        home.wait_state(hot, "on")
        shown = home.states("number.claude_gauge_real")
        hidden = _covered(home, "Ceiling", "Redline")
        home.stop()
        home.start()
        home.wait_state("number.claude_gauge_real_redline", "1500.5")
        publisher.end()
        home.wait_state("number.claude_gauge_real_redline", "unavailable")
        publisher.start()
        home.wait_state("number.claude_gauge_real_redline", "1500.5")
        home.wait_state("number.claude_gauge_real_ceiling", "2468")
        publisher.end()
    done = subprocess.run(
        [sys.executable, "-m", "claude_gauge", "discovery", "remove"], env=env, check=True, capture_output=True
    )
    wait_until(lambda: not home.states("claude_gauge_real"), "its entities to be gone")

    assert hidden == []
    names = {each.attributes["friendly_name"] for each in shown.values()}
    assert names == {"Claude Code real Ceiling", "Claude Code real Redline"}
    assert {(each.attributes["min"], each.attributes["step"], each.attributes["mode"]) for each in shown.values()} == {
        (1, 1, "box")
    }
    assert done.stdout == b"removed real from Home Assistant and from the broker\n"


def test_numbers_go_with_the_user(home: RunningHomeAssistant, closed_broker: Mosquitto, tmp_path: Path) -> None:
    """A node that no longer signs in takes its numbers away; all its other entities stay."""
    url, password = closed_broker.url.replace("//", "//desk@"), SecretStr(PASSWORD)
    settings = Settings(broker=url, broker_password=password, node="desk", state_dir=tmp_path)
    shown = {each["default_entity_id"] for each in entities("desk").values() if each.get("enabled_by_default", True)}
    parts = []
    for offers in (True, False):
        link = Link(settings, status=status_topic("desk"))
        reported = settings if offers else settings.model_copy(update={"broker_password": None})
        numbers = Numbers(link, reported, lambda _: None)
        HomeAssistant(link, reported).start()
        numbers.start()
        link.start()
        try:
            wait_until(lambda: shown <= set(home.states("claude_gauge_desk")), "all other entities")
            wait_until(lambda wanted=offers: bool(home.states("number.claude_gauge_desk")) == wanted, "the numbers")  # type: ignore[misc]
            parts.append(set(home.states("claude_gauge_desk")))
        finally:
            numbers.stop()
            link.stop()

    assert parts[0] - parts[1] == {"number.claude_gauge_desk_ceiling", "number.claude_gauge_desk_redline"}
    assert not parts[1] - parts[0]
