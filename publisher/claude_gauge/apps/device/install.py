"""`claude-gauge firmware install`, `config`, `calibrate`: the firmware, its settings, a needle's scale on a board."""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from claude_gauge.apps.device.build import BYTECODE, firmware, fixed, pure
from claude_gauge.apps.device.serial_board import CLEAR, FORGET, About, SerialBoard
from claude_gauge.apps.device.settings import (
    CA_FILE,
    ca_as_der,
    check,
    chip_of,
    device_settings,
    merged,
    seen_from_the_network,
    wired,
)
from claude_gauge.config import Settings, read_secret
from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES, gauges
from claude_gauge.contract.usage import NODE_PATTERN
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import parse, url_of

OLDEST = (1, 22)
KEY_FILE = "device-key"
DAY_S = 86_400


def wanted_settings(  # noqa: PLR0913 - each is a flag
    settings: Settings,
    *,
    host: str | None,
    node: str | None,
    wifi: Mapping[str, str] | None,
    device: tuple[str, str] | None,
    ntp: str | None = None,
) -> dict[str, Any]:
    """Return the settings for a board: broker, node, scale, network, its own name, and the time.

    `device` is the board's name and password: with a password they are its user at the broker, in place of ours.
    """
    wanted = device_settings(settings, host=host or seen_from_the_network(parse(url_of(settings)).host), node=node)
    wanted["utc_floor"] = int(time.time())
    if ntp is not None:
        wanted["ntp"] = "" if ntp == "off" else ntp
    if wifi:
        wanted["wifi"] = dict(wifi)
    if device:
        name, password = device
        if not re.fullmatch(NODE_PATTERN, name):
            raise GaugeError(f"--device {name!r}: letters, digits, _ and - only, 40 at most")
        wanted["id"] = name
        if password:
            wanted["broker"] |= {"user": name, "password": password}
    return wanted


def master_key(state_dir: Path) -> str:
    """Return the key that all boards' keys are derived from; made at the first call, readable by its owner only."""
    path = state_dir / KEY_FILE
    if not path.exists():
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32) + "\n", "ascii")
        except OSError as error:
            raise GaugeError(f"state_dir: cannot write {path}: {error.strerror}; name another state_dir") from None
    return read_secret(path, "state_dir")


def board_key(master: str, device: str) -> str:
    """Return the key of one board; a key that is read out of a stolen board signs for no other."""
    return hmac.digest(master.encode(), f"claude-gauge board {device}".encode(), "sha256").hex()


@dataclass(frozen=True)
class SetUpNetwork:
    """The network that a board opens when it finds no other."""

    name: str
    password: str


def install(  # noqa: PLR0913 - each is a flag
    cable: SerialBoard,
    settings: Settings,
    wanted: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    sources: bool = False,
    fresh: bool = False,
) -> SetUpNetwork:
    """Check the board, copy the firmware and its settings, start it; the board's own wiring settings stay."""
    about = cable.about()
    if fresh:
        about = replace(about, text="{}")
    bytecode = None if sources or about.bytecode != BYTECODE else about.bytecode
    config = _settings(cable, settings, about, wanted, say, form="bytecode" if bytecode else "sources")
    if not config.get("wifi", {}).get("ssid"):
        say("no Wi-Fi network named: it will ask for one over its own, `claude-gauge-…`")
        config["broker"] = {**config["broker"], "host": ""}
    with tempfile.TemporaryDirectory(prefix="claude-gauge-") as folder:
        stage = Path(folder)
        size = _stage(stage, firmware(bytecode), config, about.serial)
        _add_ca(stage, settings, config)
        cable.execute(CLEAR + FORGET)
        cable.copy(stage)
    say(f"copied {size} bytes; starting")
    cable.reset()
    return SetUpNetwork("claude-gauge-" + about.identity[-4:], config["portal"]["password"])


def write_config(
    cable: SerialBoard,
    settings: Settings,
    wanted: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    add_wifi: bool = False,
) -> None:
    """Change the settings alone; with `add_wifi` the network is one more, after those that the board knows."""
    about = cable.about()
    if add_wifi and wanted.get("wifi") and about.config.get("wifi", {}).get("ssid"):
        others = [each for each in about.config.get("networks", []) if each.get("ssid") != wanted["wifi"]["ssid"]]
        wanted = {**wanted, "networks": [*others, wanted["wifi"]], "wifi": about.config["wifi"]}
    put_config(cable, settings, _settings(cable, settings, about, wanted, say), say)


def edit_config(cable: SerialBoard, settings: Settings, edit: Callable[[str], str], say: Callable[[str], None]) -> None:
    """Have `edit` change the board's config.json, check the result, and write it."""
    about = cable.about()
    try:
        text = json.dumps(about.config, indent=1, ensure_ascii=False) + "\n"
    except GaugeError as error:
        say(str(error))
        text = about.text
    edited = edit(text)
    if edited == text:
        say("nothing was changed")
        return
    changed = replace(about, text=edited)
    chip = chip_of(about)
    for doubt in check(changed.config, about, chip):
        say(f"careful: {doubt}")
    put_config(cable, settings, changed.config, say)


def in_editor(text: str) -> str:
    """Return a text as the person's editor ($VISUAL, $EDITOR) left it, from a file that nobody else may read."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    with tempfile.TemporaryDirectory(prefix="claude-gauge-") as folder:
        path = Path(folder) / "config.json"
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the person's own
        except OSError as error:
            raise GaugeError(f"editor {editor}: {error.strerror}; name one in EDITOR") from None
        if done.returncode:
            raise GaugeError(f"editor {editor}: exit code {done.returncode}; nothing was changed")
        return path.read_text("utf-8")


def put_config(cable: SerialBoard, settings: Settings, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Write settings that were checked, whole or not at all, and start the board."""
    with tempfile.TemporaryDirectory(prefix="claude-gauge-") as folder:
        stage = Path(folder)
        _write_config(stage, config, "config.json.new")
        _add_ca(stage, settings, config)
        cable.copy(stage)
        cable.execute('import os; os.rename("config.json.new", "config.json")' + FORGET)
    say("settings written; starting")
    cable.reset()


def _settings(  # noqa: PLR0913 - what the board has, what it gets, and a callback
    cable: SerialBoard,
    settings: Settings,
    about: About,
    wanted: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    form: str = "",
) -> dict[str, Any]:
    """Return the board's whole settings, checked; raises GaugeError for what can't work on it."""
    version = ".".join(map(str, about.version))
    if about.version < OLDEST:
        raise GaugeError(f"port {cable.port}: MicroPython {version} is too old; flash 1.22 or newer")
    chip = chip_of(about)
    size = f", {about.flash >> 20} MB of flash" if about.flash else ""
    parts = [
        f"board: {chip} with MicroPython {version}{size}",
        *(["PSRAM"] if about.psram else []),
        *([form] if form else []),
    ]
    say(", ".join(parts))
    config = wired(merged(about.config, wanted), chip)
    config["ota_key"] = board_key(master_key(settings.state_dir), config.get("id") or about.identity)
    portal = config.get("portal", {})
    if not portal.get("password"):
        config["portal"] = {**portal, "password": made_up_password()}
    for doubt in check(config, about, chip):
        say(f"careful: {doubt}")
    return config


def made_up_password() -> str:
    """Return a password for the set-up network, without letters that look like others."""
    letters = pure("portal").LETTERS
    return "".join(secrets.choice(letters) for _ in range(10))


def _stage(stage: Path, files: Mapping[str, bytes], config: Mapping[str, Any], serial: int) -> int:
    (stage / "gauge").mkdir()
    for path, content in files.items():
        (stage / path).write_bytes(content)
    for file in fixed():
        shutil.copy(file, stage)
    # An update that still lies on the broker is older than what is installed now.
    now = int(time.time())
    state = {
        "slot": "",
        "good": "",
        "proven": True,
        "tries": 0,
        "serial": max(now, serial if serial < now + DAY_S else 0),
    }
    (stage / "ota.json").write_text(json.dumps(state))
    _write_config(stage, config, "config.json")
    return sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())


def _write_config(stage: Path, config: Mapping[str, Any], name: str) -> None:
    path = stage / name
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))


def _add_ca(stage: Path, settings: Settings, config: Mapping[str, Any]) -> None:
    if config["broker"].get("ca") and settings.broker_ca:
        (stage / CA_FILE).write_bytes(ca_as_der(settings.broker_ca))


PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
SUFFIXES = {"k": 1e3, "m": 1e6, "%": 1e-2}


def calibrate(
    cable: SerialBoard, settings: Settings, name: str, ask: Callable[[str], str], say: Callable[[str], None]
) -> None:
    """Send one needle to five places, ask what it shows, and write zero, span and points."""
    about = cable.about()
    config = dict(about.config)
    gauge = next(gauge for gauge in gauges(settings.redline) if gauge.name == name)
    high = float(config.get("tach_high", gauge.high)) if name == "tach" else gauge.high
    say(f"{gauge.label}: five places; type each time where the needle points, in the figures of its face")
    say(f"({gauge.note}); between two figures estimate, below zero give a negative one")
    shown: list[float] = []
    for place in PLACES:
        cable.execute(f"from gauge import selftest; selftest.stand({name!r}, {place})")
        shown.append(figure(ask(f"place {len(shown) + 1} of {len(PLACES)}"), high, gauge.factor))
    needles = dict(config.get("needles", {}))
    needle = needles.get(name, {})
    needles[name] = {**needle, **fitted(str(config.get("movement", "quad")), needle, PLACES, shown)}
    config["needles"] = needles
    check(config, about, chip_of(about))
    say("calibration: " + ", ".join(f"{key} {value}" for key, value in needles[name].items() if key != "pins"))
    put_config(cable, settings, config, say)


def figure(text: str, high: float, factor: float) -> float:
    """Read what was typed as a share of a scale that ends at `high`: a figure of its face, or the value itself.

    `factor` makes a figure of the face out of a value: on a face in thousands both 500 and 500k are 500,000.
    """
    text = text.strip().lower().replace(",", "").replace(" ", "")
    unit = SUFFIXES.get(text[-1:])
    try:
        value = float(text.rstrip("km%"))
    except ValueError:
        raise GaugeError(f"{text!r} is no figure; nothing was changed") from None
    if unit is None and abs(value) <= 2 * high * factor:  # more than the face has can only be the value itself
        unit = 1 / factor
    return value * (unit or 1.0) / high


def fitted(movement: str, needle: Mapping[str, Any], sent: Sequence[float], shown: Sequence[float]) -> dict[str, Any]:
    """Return the settings with which a needle that showed `shown` where it was sent to `sent` shows what is meant.

    Both are shares of the scale, rising; the ends are extrapolated from the two places next to them.
    """
    if any(after - before < 0.02 for before, after in pairwise(shown)):  # noqa: PLR2004 - 2 % of the scale
        raise GaugeError(
            "the figures do not rise from place to place: a needle that turns the wrong way wants "
            '"reverse": true, one that stands still a look at its wires; nothing was changed'
        )
    low, high = _inverse(sent, shown, 0.0), _inverse(sent, shown, 1.0)
    points = [[each, round((_inverse(sent, shown, each) - low) / (high - low), 4)] for each in (0.25, 0.5, 0.75)]
    if movement == "voltmeter":
        return {"full": round(min(1.0, float(needle.get("full", 1.0)) * high), 4), "points": points}
    if movement == "servo":
        begin, end = float(needle.get("low_us", 600)), float(needle.get("high_us", 2400))
        ends = [round(begin + (end - begin) * each) for each in (low, high)]
        return {"low_us": ends[0], "high_us": ends[1], "points": points}
    zero = REST_DEGREES + SCALE_DEGREES * low
    return {"zero": round(zero, 2), "span": round(SCALE_DEGREES * (high - low), 2), "points": points}


def _inverse(sent: Sequence[float], shown: Sequence[float], wanted: float) -> float:
    """Return where to send a needle so that it shows this."""
    steps = list(pairwise(zip(sent, shown, strict=True)))
    (x0, y0), (x1, y1) = next((step for step in steps if wanted <= step[1][1]), steps[-1])
    return x0 + (x1 - x0) * (wanted - y0) / (y1 - y0)
