"""`claude-gauge firmware install`: the firmware and its settings, onto a board."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from claude_gauge.apps.device.build import BYTECODE, firmware
from claude_gauge.apps.device.files import fixed
from claude_gauge.apps.device.serial_board import CLEAR, SerialBoard
from claude_gauge.apps.device.settings import CA_FILE, device_settings, merged, seen_from_the_network
from claude_gauge.apps.device.sim import ca_as_der
from claude_gauge.config import Settings, read_secret
from claude_gauge.contract.usage import NODE_PATTERN
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import parse, url_of

OLDEST = (1, 22)
KEY_FILE = "device-key"


def wanted_settings(
    settings: Settings,
    *,
    host: str | None,
    node: str | None,
    wifi: Mapping[str, str] | None,
    device: tuple[str, str] | None,
) -> dict[str, Any]:
    """Return what a board is to be told: broker, node, scale, its network, its own name, and the key of its updates.

    `device` is the board's name and password: with a password they are its user at the broker, in place of ours.
    """
    told = device_settings(settings, host=host or seen_from_the_network(parse(url_of(settings)).host), node=node)
    told["ota_key"] = device_key(settings.state_dir)
    if wifi:
        told["wifi"] = dict(wifi)
    if device:
        name, password = device
        if not re.fullmatch(NODE_PATTERN, name):
            raise GaugeError(f"--device {name!r}: letters, digits, _ and - only, 40 at most")
        told["id"] = name
        if password:
            told["broker"] |= {"user": name, "password": password}
    return told


def device_key(state_dir: Path) -> str:
    """Return the key that signs updates over the air, made at the first call and kept for us alone."""
    path = state_dir / KEY_FILE
    if not path.exists():
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32) + "\n", "ascii")
        except OSError as error:
            raise GaugeError(f"state_dir: cannot write {path}: {error.strerror}; name another state_dir") from None
    return read_secret(path, "state_dir")


def install(
    cable: SerialBoard, settings: Settings, told: Mapping[str, Any], say: Callable[[str], None], *, sources: bool
) -> None:
    """Check the board, copy the firmware and its settings, start it; what the board knew of its wiring stays."""
    about = cable.about()
    version = ".".join(map(str, about.version))
    if about.version < OLDEST:
        raise GaugeError(f"port {cable.port}: MicroPython {version} is too old; flash 1.22 or newer")
    bytecode = None if sources or about.bytecode != BYTECODE else about.bytecode
    say(f"board: MicroPython {version} on {about.platform}, {'bytecode' if bytecode else 'sources'}")
    config = merged(about.config, told)
    if not config.get("wifi", {}).get("ssid"):
        say("no Wi-Fi network named: it will ask for one over its own, `claude-gauge-…`")
        config["broker"] = {**config["broker"], "host": ""}
    with tempfile.TemporaryDirectory(prefix="claude-gauge-") as folder:
        stage = Path(folder)
        size = _stage(stage, firmware(bytecode), config)
        if config["broker"].get("ca") and settings.broker_ca:
            (stage / CA_FILE).write_bytes(ca_as_der(settings.broker_ca))
        cable.execute(CLEAR)
        cable.copy(stage)
    say(f"copied {size} bytes; starting")
    cable.reset()


def write_config(cable: SerialBoard, told: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Change the settings alone."""
    config = merged(cable.about().config, told)
    with tempfile.TemporaryDirectory(prefix="claude-gauge-") as folder:
        _write_config(Path(folder), config)
        cable.copy(Path(folder))
    say("settings written; starting")
    cable.reset()


def _stage(stage: Path, files: Mapping[str, bytes], config: Mapping[str, Any]) -> int:
    (stage / "gauge").mkdir()
    for path, content in files.items():
        (stage / path).write_bytes(content)
    for file in fixed():
        shutil.copy(file, stage)
    # An update that still lies on the broker is older than what is installed now.
    state = {"slot": "", "good": "", "proven": True, "tries": 0, "serial": int(time.time())}
    (stage / "ota.json").write_text(json.dumps(state))
    _write_config(stage, config)
    return sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())


def _write_config(stage: Path, config: Mapping[str, Any]) -> None:
    path = stage / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
