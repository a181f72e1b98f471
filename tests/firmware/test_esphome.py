"""The ESPHome configuration: valid, and about the same topics, dials and pins."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support import ROOT
from tests.support.parts import part

from claude_gauge.contract import scales
from claude_gauge.contract.usage import status_topic, usage_topic
from gauge.settings import DEFAULTS
from gauge.usage import REST, STALE_MS

FILE = ROOT / "firmware" / "esphome" / "claude-gauge.yaml"
SECRETS = ("wifi_ssid", "wifi_password", "mqtt_broker", "mqtt_user", "mqtt_password")


def test_esphome_takes_it(tmp_path: Path) -> None:
    """The real ESPHome finds nothing wrong with it."""
    shutil.copy(FILE, tmp_path)
    (tmp_path / "secrets.yaml").write_text("".join(f"{name}: made-up-{name}\n" for name in SECRETS))
    command = [str(part("esphome-2026.6.5/bin/esphome")), "config", str(tmp_path / FILE.name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Configuration is valid" in done.stderr + done.stdout
    shown = done.stdout
    assert f"topic: {usage_topic('all')}" in shown
    assert f"topic: {status_topic('all')}" in shown


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

    assert read <= {*REST, "waiting"}
    assert {gauge.field for gauge in scales.gauges(1)} <= read
