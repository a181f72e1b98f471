"""Every chip that is offered: its map, through installation and boot, on boards whose pins are another table's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.firmware.boards import Sender, board, fresh, linked, micropython, rests, shows
from tests.firmware.pty_board import PtyBoard
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device import settings as boards
from claude_gauge.apps.device.build import pure
from claude_gauge.apps.device.serial_board import About
from claude_gauge.apps.device.virtual_board import VirtualBoard
from claude_gauge.errors import GaugeError
from gauge import chips, settings

SHOWN = {"window_5h_pct": 0.25, "rate_1m": 625_000, "thinking_ratio": 0.75, "cache_hit_rate": 0.9}
MOVEMENTS = ("quad", "direct", "voltmeter", "servo")


@pytest.fixture
def env(tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """Give an environment that knows the broker and the network's password."""
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk", "CLAUDE_GAUGE_WIFI_PASSWORD": "x"}
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path, **own)


def install(flashed: PtyBoard, env: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    """Install onto a board."""
    return call("firmware", "install", "--port", flashed.port, "--host", "127.0.0.1", "--wifi", "home", *more, env=env)


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
@pytest.mark.parametrize("chip", chips.NAMES)
def test_installed_and_booted(
    chip: str, env: dict[str, str], broker: Mosquitto, tmp_path: Path, *, named: bool
) -> None:
    """Each chip gets pins that it has, starts once, and moves all four needles without a fault."""
    with (
        PtyBoard(tmp_path / "flash", chip, machine="" if named else "linux") as flashed,
        Listener(broker.port, "claude-gauge/device/#") as listener,
    ):
        done = install(flashed, env)
        assert done.returncode == 0, done.stderr
        listener.wait(lambda received: received.payload == b"online")
        config = json.loads((flashed.flash / "config.json").read_text())
        starts = flashed.resets
    assert starts == 1
    if named or chip not in ("ESP32-S2", "ESP32-S3"):  # their pins alone do not tell these two apart
        assert config["chip"] == chip

    config["virtual"] = {"chip": chip}
    with VirtualBoard(tmp_path / "again", config, micropython()) as gauge, Sender(broker.port) as sender:
        linked(gauge)
        sender.send(fresh(**SHOWN))
        shows(gauge, 0.25, 0.5, 0.75, 0.9)
        assert gauge.faults == []
        assert gauge.starts == 1


@pytest.mark.parametrize("chip", chips.NAMES)
@pytest.mark.parametrize("movement", MOVEMENTS)
def test_every_map_is_one_that_can_be(chip: str, movement: str) -> None:
    """A chip's own wiring passes its own check, on modules with PSRAM too; or the chip can't, and that is said."""
    own = settings.merge({"movement": movement}, chip)
    problems = chips.wrong(own, chip, psram=True, eight=True)

    if (chip, movement) == ("ESP32-C3", "direct"):
        assert "needles.fuel.pins: 2 pins where 3 or 4 are needed" in problems
    else:
        assert problems == chips.doubts(own, chip) == []


@pytest.mark.parametrize(
    ("chip", "given", "said"),
    [
        ("ESP32-S3", {"needles": {"tach": {"pins": [19, 25]}}}, "needles.tach.pins: GPIO 19 of the ESP32-S3 is USB"),
        ("ESP32-S3", {"needles": {"tach": {"pins": [4, 25]}}}, "needles.tach.pins: the ESP32-S3 has no GPIO 25"),
        ("ESP32-C3", {"reset_pin": 32}, "reset_pin: the ESP32-C3 has no GPIO 32"),
        ("ESP32-C6", {"lamps": {"pins": [26]}}, "lamps.pins: GPIO 26 of the ESP32-C6 belongs to the flash"),
        ("ESP32", {"lamps": {"pins": [34]}}, "lamps.pins: GPIO 34 of the ESP32 is an input only"),
        (
            "ESP32",
            {"needles": {"fuel": {"pins": [6, 23]}}},
            "needles.fuel.pins: GPIO 6 of the ESP32 belongs to the flash",
        ),
        ("ESP32", {"reset_pin": 33}, "lamps.pins: GPIO 33 is taken by reset_pin already"),
        (
            "ESP32",
            {"needles": {"tach": {"pins": [19, 23]}}},
            "needles.tach.pins: GPIO 23 is taken by needles.fuel.pins",
        ),
        ("ESP32", {"needles": {"tach": {"pins": ["19", 25]}}}, "needles.tach.pins: ['19', 25] is no list of GPIO"),
        ("ESP32", {"movement": "steam"}, "movement: 'steam' is none of"),
        (
            "ESP32-C3",
            {"lamps": {"kind": "leds", "pins": [0, 1, 2, 3, 4, 5, 6]}},
            "7 duty cycles, and the ESP32-C3 has 6",
        ),
        ("ESP32-S2", {"movement": "servo", "lamps": {"kind": "leds", "pins": list(range(30, 37))}}, "11 duty cycles"),
        ("ESP32", {"needles": {"fuel": {"span": "wide"}}}, "needles.fuel.span: 'wide' is not from"),
        ("ESP32", {"needles": {"fuel": {"points": [[0.5]]}}}, "needles.fuel.points: wants pairs"),
    ],
)
def test_what_cant_be_is_named_by_its_setting(
    chip: str, given: dict[str, Any], said: str, env: dict[str, str], tmp_path: Path
) -> None:
    """A setting that can't work is refused before anything is copied, and the board's own check says the same."""
    with PtyBoard(tmp_path / "flash", chip) as flashed:
        (flashed.flash / "config.json").write_text(json.dumps(given))
        done = install(flashed, env)
        assert done.returncode == 1, done.stdout
        assert said in done.stderr
        assert not (flashed.flash / "gauge").exists()
    merged = settings.merge(given, chip)
    assert any(said in problem for problem in [*chips.wrong(merged, chip), *settings.wrong(merged)])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tach_high": 0}, "tach_high: 0 is not from"),
        ({"broker": {"host": "mqtt://x"}}, "broker.host: the name or the address"),
        ({"wifi": {"ssid": "x" * 33}}, "wifi.ssid: the name of a Wi-Fi network has 32 bytes at most"),
        ({"wifi": {"ssid": "x", "password": "y" * 64}}, "wifi.password: the password of a Wi-Fi network has 63"),
        ({"networks": ["home"]}, "networks[0]: wants"),
        ({"keepalive_s": 0}, "keepalive_s: 0 is not from"),
        ({"lamps": {"brightness": -1}}, "lamps.brightness: -1 is not from"),
        ({"watchdog_ms": 1}, "watchdog_ms: 1 is not from 1000"),
        ({"utc_floor": -5}, "utc_floor: -5 is not from"),
        ({"networks": [{}] * 21}, "networks: 20 at most"),
    ],
)
def test_figures_that_cant_be(given: dict[str, Any], said: str) -> None:
    """What would make the firmware stumble while it runs is found before it does."""
    assert any(said in problem for problem in settings.wrong(settings.merge(given)))


def test_whole_numbers() -> None:
    """Where the firmware needs a whole number it gets one; infinity is none."""
    merged = settings.merge({"keepalive_s": 15.5, "utc_floor": 1e300, "tach_high": 1.5})

    assert (merged["keepalive_s"], merged["utc_floor"], merged["tach_high"]) == (15, 0, 1.5)


@pytest.mark.parametrize(("content", "said"), [
    (b'{"id": "\xff"}', "no JSON object: .* or it is not UTF-8"),
    (b"\xff\xfe{\0}\0", "no JSON object"),
    (b'{"a":' + b"[" * 3800 + b"]" * 3800 + b"}", "no JSON object"),
    (b'{"a": "' + b"x" * 60_000 + b'"}', "is too long: 8000 bytes at most"),
], ids=["not UTF-8", "UTF-16", "deep", "long"])  # fmt: skip
def test_file_that_would_stop_the_board(content: bytes, said: str, tmp_path: Path) -> None:
    """A file that is not text, too deep or too long for a board's memory is reported; it would restart for ever."""
    path = tmp_path / "config.json"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=said):
        settings.load(str(path))


def test_file_of_a_windows_editor(tmp_path: Path) -> None:
    """A byte order mark before the first bracket is no mistake."""
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"node": "desk"}\r\n')
    loaded = settings.load(str(path))

    assert loaded is not None
    assert loaded["node"] == "desk"


def test_warn_flashes_where_settings_cant_be(tmp_path: Path) -> None:
    """A board with a wrong pin shows WARN alone, twice and a pause, and does not start again and again."""
    seen: list[tuple[str, ...]] = []
    with board(tmp_path / "flash", 1, needles={"tach": {"pins": [19, 28]}, "fuel": {"pins": [18, 23]}}) as gauge:
        said = "config.json: needles.tach.pins: the ESP32 has no GPIO 28"

        def reported_twice() -> bool:
            seen.append(gauge.lamps)
            return gauge.log.count(said) >= 2

        assert gauge.wait(reported_twice), gauge.log
        assert gauge.starts == 1
    lit = [place for lamps in seen for place, colour in enumerate(lamps) if colour != "000000"]

    assert set(lit) == {2}
    assert ("000000",) * 5 in seen


@pytest.mark.parametrize("text", ["{", "[]", "", "null", '{"wifi": '])
def test_config_that_is_no_json(text: str, tmp_path: Path) -> None:
    """A file that is no JSON object is reported, for ever, and kept."""
    with VirtualBoard(tmp_path / "flash", text, micropython()) as gauge:
        assert gauge.wait(lambda: any("config.json is no JSON object" in line for line in gauge.log)), gauge.log
        assert gauge.starts == 1
    assert (gauge.flash / "config.json").read_text() == text


@pytest.mark.parametrize("chip", ["ESP32-S2", "ESP32-S3", "ESP32-C3"])
def test_needles_beside_the_pixels(chip: str, broker: Mosquitto, tmp_path: Path) -> None:
    """Up to MicroPython 1.26 the last transmitter is the pixels': needles have it, and lamps light as well."""
    virtual = {"chip": chip, "micropython": [1, 26]}
    with board(tmp_path / "flash", broker.port, chip=chip, virtual=virtual) as gauge:
        linked(gauge)
        rests(gauge)

        assert gauge.faults == []


def test_plain_leds_leave_the_needles_their_transmitters(broker: Mosquitto, tmp_path: Path) -> None:
    """On an ESP32-S3 with MicroPython 1.26 and plain LEDs, all four needles have a transmitter."""
    lamps = {"kind": "leds", "pins": [10, 11, 12, 13, 14, 21, 38]}
    virtual = {"chip": "ESP32-S3", "micropython": [1, 26]}
    with board(tmp_path / "flash", broker.port, chip="ESP32-S3", lamps=lamps, virtual=virtual) as gauge:
        linked(gauge)

        assert gauge.faults == []


@pytest.mark.parametrize(
    ("machine", "chip"),
    [
        ("Generic ESP32 module with ESP32", "ESP32"),
        ("Generic ESP32 module with SPIRAM with ESP32", "ESP32"),
        ("ESP32-PICO-D4 kit with ESP32-PICO-D4", "ESP32"),
        ("LOLIN_S2_MINI with ESP32-S2FN4R2", "ESP32-S2"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "ESP32-S3"),
        ("UM TinyS3 with ESP32-S3-FN8", "ESP32-S3"),
        ("ESP32C3 module with ESP32C3", "ESP32-C3"),
        ("M5Stack NanoC6 with ESP32C6", "ESP32-C6"),
        ("ESP32H2 module with ESP32H2", ""),
        ("ESP32P4 module with ESP32P4", ""),
        ("Raspberry Pi Pico with RP2040", ""),
        ("", ""),
    ],
)
def test_names_of_boards(machine: str, chip: str) -> None:
    """The chip is known from the name that MicroPython gives to a board, whatever else is in it."""
    assert chips.name(machine) == chip


@pytest.mark.parametrize("machine", ["ESP32H2 module with ESP32H2", "Raspberry Pi Pico W with RP2040"])
def test_another_chip_is_refused(machine: str) -> None:
    """A board that the firmware does not run on is refused by its name."""
    about = About(version=(1, 26, 0), platform="rp2" if "Pico" in machine else "esp32", machine=machine, pins=(0, 1))

    with pytest.raises(GaugeError, match=machine):
        boards.chip_of(about)


def test_pins_that_this_board_lacks() -> None:
    """A pin that its MicroPython does not know is named, although the chip has it."""
    about = About(version=(1, 26, 0), machine="Tiny with ESP32S3", pins=tuple(range(9)))

    with pytest.raises(GaugeError, match=r"needles\.temperature\.pins: this board's MicroPython has no GPIO 15"):
        boards.check({}, about, "ESP32-S3")


def test_one_map_for_board_and_computer() -> None:
    """What the installer reads is the firmware's own file."""
    assert Path(str(pure("chips").__file__)).read_bytes() == Path(str(chips.__file__)).read_bytes()


def test_micropython_knows_the_maps() -> None:
    """The same map under the real MicroPython."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); from gauge import chips; print(json.dumps([%s]))"
    code %= f"chips.wiring(n, m) for n in chips.NAMES for m in {MOVEMENTS}"
    command = [*micropython(), "-c", code, str(Path(str(chips.__file__)).parents[1])]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout

    assert json.loads(said) == [chips.wiring(name, movement) for name in chips.NAMES for movement in MOVEMENTS]
