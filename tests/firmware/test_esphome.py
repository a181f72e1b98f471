"""The ESPHome configuration: valid, and about the same topics, dials and pins."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.net import PATIENCE_S
from tests.support.parts import part

from claude_gauge.apps.broker.certificates import make_ca
from claude_gauge.contract import scales
from claude_gauge.contract.usage import Usage, status_topic, usage_topic
from gauge.settings import DEFAULTS
from gauge.usage import REST, STALE_MS

FILE = ROOT / "firmware" / "esphome" / "claude-gauge.yaml"
SECRETS = ("wifi_ssid", "wifi_password", "ap_password", "ota_password", "mqtt_broker", "mqtt_user", "mqtt_password")
CERTIFICATE = make_ca("test", datetime.now(UTC)).certificate.decode()


def resolved(folder: Path, text: str) -> str:
    """Return what the real ESPHome makes of a configuration, all that it adds by itself included."""
    (folder / FILE.name).write_text(text)
    secrets = {name: f"made-up-{name}" for name in SECRETS} | {"mqtt_ca": CERTIFICATE}
    (folder / "secrets.yaml").write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in secrets.items()))
    command = [str(part("esphome-2026.6.5/bin/esphome")), "config", str(folder / FILE.name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Configuration is valid" in done.stderr + done.stdout
    return done.stdout


def section(shown: str, name: str) -> str:
    """Return one top-level section of a resolved configuration; empty where there is none."""
    found = re.search(rf"^{name}:.*\n((?:[ \t-].*\n|\n)*)", shown, re.MULTILINE)
    return found[0] if found else ""


def open_doors(shown: str) -> list[str]:
    """List the ways in that ask for no password, in a resolved configuration."""
    updates = re.split(r"^  - ", section(shown, "ota"), flags=re.MULTILINE)[1:]
    doors = [f"ota: {each.splitlines()[0]}" for each in updates if "password: !secret 'ota_password'" not in each]
    networks = re.findall(r"^  ap:\n((?:    .*\n)*)", section(shown, "wifi"), re.MULTILINE)
    doors += ["wifi.ap" for each in networks if "password: !secret 'ap_password'" not in each]
    return doors + [name for name in ("captive_portal", "web_server", "api", "improv_serial") if section(shown, name)]


def test_esphome_takes_it(tmp_path: Path) -> None:
    """The real ESPHome finds nothing wrong with it."""
    shown = resolved(tmp_path, FILE.read_text())

    assert f"topic: {usage_topic('all')}" in shown
    assert f"topic: {status_topic('all')}" in shown


def test_no_door_is_left_open(tmp_path: Path) -> None:
    """With all that ESPHome adds by itself, nothing takes firmware or a client without a password."""
    shown = resolved(tmp_path, FILE.read_text())

    assert section(shown, "ota")
    assert section(shown, "wifi")
    assert open_doors(shown) == []


@pytest.mark.parametrize(
    ("good", "bad", "door"),
    [
        ("    password: !secret ota_password\n", "", "ota: platform: esphome"),
        ("    password: !secret ap_password\n", "", "wifi.ap"),
        ("\nmqtt:\n", "\ncaptive_portal:\n\nmqtt:\n", "ota: platform: web_server"),
        ("\nmqtt:\n", "\nweb_server:\n\nmqtt:\n", "web_server"),
    ],
)
def test_an_open_door_is_noticed(tmp_path: Path, good: str, bad: str, door: str) -> None:
    """The check above finds each door that was open once, or that one more line would open."""
    text = FILE.read_text()
    assert good in text

    assert door in open_doors(resolved(tmp_path, text.replace(good, bad)))


def test_broker_with_its_own_ca(tmp_path: Path) -> None:
    """With two comment signs taken away it speaks TLS to a broker whose certificate one's own CA signed."""
    text = re.sub(r"^  # (port|certificate_authority):", r"  \1:", FILE.read_text(), flags=re.MULTILINE)
    mqtt = section(resolved(tmp_path, text), "mqtt")

    assert "certificate_authority: !secret 'mqtt_ca'" in mqtt
    assert "port: 8883" in mqtt


def test_figures_are_those_of_everything_else() -> None:
    """Dials, sizes, times and pins are the same as everywhere."""
    text = FILE.read_text()
    figures = dict(re.findall(r'^  (\w+): "([\d.]+)"', text, re.MULTILINE))

    assert float(figures["tach_high"]) == scales.gauges(1_000_000)[1].high == DEFAULTS["tach_high"]
    assert float(figures["rest_degrees"]) == scales.REST_DEGREES
    assert float(figures["scale_degrees"]) == scales.SCALE_DEGREES
    assert float(figures["steps_per_degree"]) == 4 * scales.STEPS / scales.SWEEP_DEGREES
    assert float(figures["stale_s"]) * 1000 == STALE_MS
    pins = re.findall(r"id: (\w+), step_pin: GPIO(\d+), dir_pin: GPIO(\d+)", text)
    assert {name: {"pins": [int(step), int(way)]} for name, step, way in pins} == DEFAULTS["needles"]


def test_reads_fields_of_the_contract() -> None:
    """Every field that it reads is one of the payload's."""
    read = set(re.findall(r'x\["(\w+)"\]', FILE.read_text()))

    beyond = set(re.findall(r'beyond\["(\w+)"\]', FILE.read_text()))
    assert read <= {*REST, "waiting"}
    assert beyond <= set(Usage.model_fields)
    assert {gauge.field for gauge in scales.gauges(1)} <= read
