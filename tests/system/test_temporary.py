"""Folders for the time of a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from claude_gauge.system.signals import NEW_S, temporary_folder

LONG_AGO = time.time() - 2 * NEW_S
HOLD = (
    "import sys; from claude_gauge.system.signals import temporary_folder\n"
    "with temporary_folder('test') as folder: print(folder, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put temporary folders into the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _killed() -> tuple[Path, subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    (folder / "config.json").write_text("canary")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder, process


def test_what_a_killed_one_left() -> None:
    """The folder of a killed command goes with the next one's start, that of a running one stays."""
    (left, killed), (held, running) = _killed(), _killed()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with temporary_folder("test") as folder:
        found = left.exists(), held.exists(), folder.stat().st_mode & 0o777

    assert found == (False, True, 0o700)
    assert not folder.exists()
    running.communicate("")
    assert not held.exists()


def test_what_is_left_alone(tmp_path: Path) -> None:
    """Young folders, links, files and other kinds' folders are left alone."""
    young, other = tmp_path / "claude-gauge-test-young", tmp_path / "claude-gauge-other-x"
    file, link, target = tmp_path / "claude-gauge-test-file", tmp_path / "claude-gauge-test-link", tmp_path / "target"
    for each in (young, other, target):
        each.mkdir()
    file.touch()
    link.symlink_to(target)
    for each in (other, target, file):
        os.utime(each, (LONG_AGO, LONG_AGO))
    os.utime(link, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    before = sorted(tmp_path.iterdir())
    with temporary_folder("test"):
        pass

    assert sorted(tmp_path.iterdir()) == before
