"""Where the firmware's files are: in a checkout's firmware/, else in the installed package."""

from __future__ import annotations

from pathlib import Path

from claude_gauge.errors import GaugeError

_HERE = Path(__file__).parent


def folder() -> Path:
    """Return the folder with main.py; raises GaugeError where the installation lacks it."""
    for found in (_HERE.parents[3] / "firmware", _HERE / "on_board"):
        if (found / "gauge" / "app.py").exists():
            return found
    raise GaugeError("the firmware's files are missing from this installation; install claude-gauge again")


def fixed() -> list[Path]:
    """Return the files that stay as they are on a board: they choose what runs."""
    return [folder() / name for name in ("main.py", "slots.py")]


def modules() -> list[Path]:
    """Return the firmware proper, in a fixed order."""
    return sorted((folder() / "gauge").glob("*.py"))
