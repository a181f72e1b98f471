"""The firmware's files in what people install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support import ROOT

from claude_gauge.apps.device.files import fixed, modules


def test_wheel_holds_the_firmware(tmp_path: Path) -> None:
    """A wheel has every file of the firmware, so that `firmware install` and `sim` work without a checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    wanted = {str(path.relative_to(ROOT / "firmware")) for path in (*fixed(), *modules())}

    assert {f"claude_gauge/apps/device/on_board/{name}" for name in (*wanted, "virtual/run.py")} <= names
