"""The scripts that install what the tests run for real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.parts import PARTS

FROM_NPM = ["20-ccusage", "25-ccusage-mcp", "26-otel-js", "35-claude-code", "60-axe"]
# Is ended in the middle of its work.
NPM = """#!/bin/sh
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules"
ls "$2" | grep half && echo "began on what was left" >>"$0.log"
touch "$2/half"
echo called >>"$0.log"
exit 1
"""


def run(script: str, parts: Path, programs: Path) -> int:
    """Run one of the scripts with other programs before the machine's."""
    env = {**os.environ, "CLAUDE_GAUGE_PARTS": str(parts), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", f"scripts/parts/{script}.sh"], cwd=ROOT, env=env, check=False).returncode


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with an npm that is interrupted each time."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "npm").write_text(NPM)
    (folder / "npm").chmod(0o755)
    return folder


@pytest.mark.parametrize("script", FROM_NPM)
def test_half_installed_part_is_made_again(script: str, programs: Path, tmp_path: Path) -> None:
    """A part whose installation was interrupted is installed anew, from nothing."""
    codes = [run(script, tmp_path / "parts", programs) for _ in range(2)]

    assert 0 not in codes
    assert (programs / "npm.log").read_text().split("\n") == ["called", "called", ""]


@pytest.mark.parametrize("script", FROM_NPM)
def test_whole_part_is_left_alone(script: str, programs: Path) -> None:
    """A part that works is not installed again."""
    assert run(script, PARTS, programs) == 0
    assert not (programs / "npm.log").exists()
