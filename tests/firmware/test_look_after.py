"""What is done to a board at the cable: flash MicroPython, edit its settings, measure a needle, print its label."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.firmware.pty_board import PtyBoard
from tests.support.mosquitto import Mosquitto
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device.faces import label
from claude_gauge.apps.device.install import PLACES, figure, fitted
from claude_gauge.apps.device.serial_board import only_port
from claude_gauge.errors import GaugeError
from gauge.scale import Dial

PASSWORD = "wifi-canary"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """The broker that all boards of this file use."""
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


def knowing(broker: Mosquitto, folder: Path) -> dict[str, str]:
    """Return an environment that knows the broker and the network's password."""
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_NODE": "desk", "CLAUDE_GAUGE_WIFI_PASSWORD": PASSWORD}
    return environment(ClaudeHome(folder / "claude"), folder, **own)


@pytest.fixture
def env(tmp_path: Path, network: Mosquitto) -> dict[str, str]:
    """Give an environment of this test's own."""
    return knowing(network, tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, network: Mosquitto) -> Path:
    """A flash with the firmware on it, installed once for all that copy it."""
    folder = tmp_path_factory.mktemp("installed")
    with PtyBoard(folder / "flash") as bare:
        done = firmware(bare, knowing(network, folder), "install", "--host", "127.0.0.1", "--wifi", "home")
        assert done.returncode == 0, done.stderr
    return folder / "flash"


@pytest.fixture
def board(tmp_path: Path, installed: Path) -> Iterator[PtyBoard]:
    """A board of this test's own with the firmware on it."""
    with PtyBoard(shutil.copytree(installed, tmp_path / "flash")) as running:
        yield running


def firmware(board: PtyBoard, env: dict[str, str], *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the commands with a board at its port."""
    return call("firmware", *words, "--port", board.port, env=env, typed=typed)


def config(board: PtyBoard) -> dict[str, object]:
    """Return what the board's config.json says."""
    reported: dict[str, object] = json.loads((board.flash / "config.json").read_text())
    return reported


def editor(folder: Path, code: str) -> str:
    """Return a command that edits a file as the code says, among `config` and `path`."""
    script = folder / "editor.py"
    script.write_text(f"import json, os, sys\npath = sys.argv[1]\nconfig = json.load(open(path))\n{code}\n")
    return f"{sys.executable} {script}"


def test_edited(board: PtyBoard, env: dict[str, str], tmp_path: Path) -> None:
    """Settings are edited in the person's editor, in a file for them alone, and the board starts with them."""
    code = f"""
open({str(tmp_path / "mode")!r}, "w").write(oct(os.stat(path).st_mode & 0o777))
config["lamps"]["brightness"] = 0.25
json.dump(config, open(path, "w"))"""
    done = firmware(board, {**env, "EDITOR": editor(tmp_path, code)}, "config", "--edit")
    assert done.returncode == 0, done.stderr

    assert (tmp_path / "mode").read_text() == "0o600"
    lamps = config(board)["lamps"]
    assert isinstance(lamps, dict)
    assert lamps["brightness"] == 0.25
    assert PASSWORD not in done.stdout + done.stderr
    assert not (board.flash / "config.json.new").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('config["reset_pin"] = 20\nconfig["needles"]["fuel"]["pins"] = [1]', "needles.fuel.pins: 1 pins where 2"),
        ('config["needles"]["tach"]["pins"][0] = 34', "needles.tach.pins: GPIO 34 of the ESP32 is an input only"),
        ('config["needles"]["tach"]["pins"][0] = 24', "needles.tach.pins: the ESP32 has no GPIO 24"),
        ("config = []", "no JSON object"),
    ],
)
def test_edited_into_what_cant_be(board: PtyBoard, env: dict[str, str], tmp_path: Path, code: str, said: str) -> None:
    """What can't be is named and not written: the board keeps what it had."""
    before = config(board)
    code += '\njson.dump(config, open(path, "w"))'
    done = firmware(board, {**env, "EDITOR": editor(tmp_path, code)}, "config", "--edit")

    assert done.returncode == 1
    assert said in done.stderr
    assert config(board) == before


def test_editor_that_changes_nothing(board: PtyBoard, env: dict[str, str]) -> None:
    """An editor that was left without a change, or can't be started, changes nothing."""
    done = firmware(board, {**env, "EDITOR": "true"}, "config", "--edit")
    assert (done.returncode, "nothing was changed" in done.stdout) == (0, True)

    done = firmware(board, {**env, "VISUAL": "/no/editor"}, "config", "--edit")
    assert (done.returncode, done.stderr.startswith("error: editor /no/editor")) == (1, True)


def test_settings_that_are_no_json(board: PtyBoard, env: dict[str, str], tmp_path: Path) -> None:
    """A config.json that a person broke is opened as it is, to be corrected; or left behind."""
    (board.flash / "config.json").write_text("{oops")
    done = firmware(board, env, "config")
    assert (done.returncode, "is no JSON object" in done.stderr) == (1, True)

    script = tmp_path / "correct.sh"
    script.write_text('grep -q oops "$1" && printf \'{"node": "corrected", "broker": {"host": "h"}}\' >"$1"\n')
    done = firmware(board, {**env, "EDITOR": f"sh {script}"}, "config", "--edit")
    assert done.returncode == 0, done.stderr
    assert config(board)["node"] == "corrected"

    (board.flash / "config.json").write_text("{oops")
    done = firmware(board, env, "install", "--host", "127.0.0.1", "--wifi", "home", "--fresh")
    assert done.returncode == 0, done.stderr
    assert config(board)["node"] == "desk"


def test_one_more_network(board: PtyBoard, env: dict[str, str]) -> None:
    """A network is added to those that the board knows; its time is set again, and a time server if one is named."""
    more = {**env, "CLAUDE_GAUGE_WIFI_PASSWORD": "office-canary"}
    words = ("config", "--host", "127.0.0.1", "--wifi", "office", "--add-wifi", "--ntp", "10.0.0.1")
    done = firmware(board, more, *words)
    assert done.returncode == 0, done.stderr
    reported = config(board)

    assert reported["wifi"] == {"ssid": "home", "password": PASSWORD}
    assert reported["networks"] == [{"ssid": "office", "password": "office-canary"}]
    assert reported["ntp"] == "10.0.0.1"
    assert isinstance(reported["utc_floor"], int)
    assert reported["utc_floor"] > 1_795_000_000


def test_label(board: PtyBoard, env: dict[str, str], tmp_path: Path) -> None:
    """The label has the set-up network and its password, in a file for its owner alone."""
    path = tmp_path / "label.svg"
    words = ("install", "--host", "127.0.0.1", "--wifi", "home", "--label", str(path))
    done = firmware(board, env, *words)
    assert done.returncode == 0, done.stderr
    portal = config(board)["portal"]
    assert isinstance(portal, dict)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == label("claude-gauge-a0de", portal["password"])
    assert f"claude-gauge-a0de, password {portal['password']}" in done.stdout


def test_calibrated(board: PtyBoard, env: dict[str, str]) -> None:
    """A needle that shows too much is measured at five places; from then on it shows what is meant."""
    done = firmware(board, env, "calibrate", "boost", typed="5\n30\n55\n80\n105\n")
    assert done.returncode == 0, done.stderr
    needles = config(board)["needles"]
    assert isinstance(needles, dict)
    boost = needles["boost"]

    assert (boost["zero"], boost["span"]) == (6.5, 270)
    assert boost["points"] == [[0.25, 0.25], [0.5, 0.5], [0.75, 0.75]]
    assert needles["fuel"] == {"pins": [18, 23]}
    assert boost["pins"] == [22, 27]


def test_calibration_that_makes_no_sense(board: PtyBoard, env: dict[str, str]) -> None:
    """Figures that do not rise, or are none, change nothing."""
    before = config(board)
    for typed, said in (("50\n50\n50\n50\n50\n", "do not rise"), ("much\n", "is no figure")):
        done = firmware(board, env, "calibrate", "fuel", typed=typed)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    done = firmware(board, env, "calibrate", "speed")

    assert (done.returncode, done.stderr) == (
        2,
        "error: needle='speed': should be one of 'fuel', 'tach', 'temperature', 'boost'\n",
    )
    assert config(board) == before


@given(
    st.floats(-0.1, 0.1),
    st.floats(0.8, 1.2),
    st.floats(-0.02, 0.02),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]),
)
def test_fitted_needle_shows_what_is_meant(shift: float, stretch: float, bend: float, wanted: float) -> None:
    """However a face is off, shifted, stretched or bent, a fitted needle stands within 2 % of what is meant."""

    def shows(place: float) -> float:
        return shift + stretch * place + bend * 4 * place * (1 - place)

    own = fitted("quad", {}, PLACES, [shows(place) for place in PLACES])
    degrees = Dial(own).steps(wanted, 315_000) / 1000

    assert shows((degrees - 20) / 270) == pytest.approx(wanted, abs=0.02)


def test_fitted_duty_cycles() -> None:
    """A voltmeter that shows too much gets less at its end; a servo's pulses end where the scale does."""
    much = [place * 1.25 for place in PLACES]

    assert fitted("voltmeter", {"full": 1.0}, PLACES, much)["full"] == 0.8
    assert fitted("servo", {}, PLACES, much) == {
        "low_us": 600,
        "high_us": 2040,
        "points": [[0.25, 0.25], [0.5, 0.5], [0.75, 0.75]],
    }


def test_figures_as_they_are_typed() -> None:
    """Per cent with or without its sign; tokens as the face has them, or whole, with a letter or commas."""
    tokens = ("625", "-25", "625k", "0.625M", "625,000", "0")

    assert [figure(text, 1.0, 100) for text in ("50", "50 %", "-2", "0")] == [0.5, 0.5, -0.02, 0]
    assert [figure(text, 1_250_000, 0.001) for text in tokens] == [0.5, -0.02, 0.5, 0.5, 0.5, 0]
    assert [figure(text, 500, 1) for text in ("250", "0.25k")] == [0.5, 0.5]


def test_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `firmware` a command that looks for the board's port names what to install."""
    monkeypatch.setitem(sys.modules, "serial", None)

    with pytest.raises(GaugeError, match="pyserial is missing; install the extra"):
        only_port()


def test_flash_without_a_board(env: dict[str, str], tmp_path: Path) -> None:
    """Where no boot loader answers, the command says what to press; an image that is missing is said before that."""
    image = tmp_path / "ESP32_GENERIC.bin"
    image.write_bytes(b"x")
    master, slave = os.openpty()
    try:
        done = call("firmware", "flash", str(image), "--port", os.ttyname(slave), env=env)
        missing = call("firmware", "flash", "FILE.bin", "--port", os.ttyname(slave), env=env)
    finally:
        os.close(master)
        os.close(slave)

    assert (done.returncode, missing.returncode) == (1, 1)
    assert "hold the board's BOOT button" in done.stderr
    assert missing.stderr == "error: FILE.bin: no such file; check the path\n"
    assert len(done.stderr.splitlines()) == 1


def test_port_that_goes_away(env: dict[str, str]) -> None:
    """A port that can't be read is reported in the system's words with what to look at, not in Python's."""
    done = call("firmware", "config", "--edit", "--port", "/dev/null", env=env)

    assert done.returncode == 1
    assert "Error" not in done.stderr
    assert "check the cable" in done.stderr


@pytest.mark.parametrize("chip", ["ESP32", "ESP32-S3"])
def test_flashed(env: dict[str, str], tmp_path: Path, chip: str) -> None:
    """The image goes to the place that its chip wants, after the flash was erased; esptool is a stand-in here."""
    said = tmp_path / "said"
    (tmp_path / "esptool").mkdir()
    answer = f'print("Chip type:          {chip} (QFN56)")'
    code = f"import sys\nopen({str(said)!r}, 'a').write(' '.join(sys.argv[3:]) + '\\n')\n{answer}\n"
    (tmp_path / "esptool" / "__init__.py").write_text("")
    (tmp_path / "esptool" / "__main__.py").write_text(code)
    image = tmp_path / "image.bin"
    image.write_bytes(b"x")
    done = call("firmware", "flash", str(image), "--port", "/dev/null", env={**env, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    offset = "0x1000" if chip == "ESP32" else "0"

    assert said.read_text().splitlines()[1:] == ["erase-flash", f"write-flash {offset} {image}"]
    assert "now: claude-gauge firmware install" in done.stdout
