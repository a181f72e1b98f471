from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from claude_gauge.daemon.machine import NodeLock
from claude_gauge.errors import AlreadyPublishingError, GaugeError

HOLD = """
import pathlib, sys
from claude_gauge.daemon.machine import NodeLock
with NodeLock(pathlib.Path(sys.argv[1]), "n"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_publisher_is_refused(tmp_path: Path) -> None:
    """The second publisher of a node learns which process has it, and leaves with exit code 75."""
    with (
        NodeLock(tmp_path / "state", "n"),
        pytest.raises(AlreadyPublishingError) as refused,
        NodeLock(tmp_path / "state", "n"),
    ):
        pass

    assert f"process {os.getpid()} " in str(refused.value)
    assert refused.value.exit_code == 75


def test_other_node_is_free(tmp_path: Path) -> None:
    """Two nodes on one machine do not meet."""
    with NodeLock(tmp_path / "state", "one"), NodeLock(tmp_path / "state", "two"):
        assert {path.name for path in (tmp_path / "state").iterdir()} == {"one.lock", "two.lock"}


def test_killed_holder_lets_go(tmp_path: Path) -> None:
    """A publisher that was killed leaves no lock behind."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(AlreadyPublishingError, match=f"process {holder.pid} "), NodeLock(tmp_path, "n"):
        pass
    holder.kill()
    holder.communicate()

    with NodeLock(tmp_path, "n"):
        assert (tmp_path / "n.lock").read_text() == f"{os.getpid()}\n"


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked the folder is to blame, no other process."""

    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    why = r"cannot lock .*n\.lock: No locks available; name another folder"
    with pytest.raises(GaugeError, match=why) as caught, NodeLock(tmp_path, "n"):
        pass

    assert caught.value.exit_code == 1


def test_emptied_state_folder_lets_nobody_else_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the lock's file, or its whole folder, was removed under a publisher, it is held again, with a log line."""
    with NodeLock(tmp_path / "state", "n") as lock:
        shutil.rmtree(tmp_path / "state")
        lock.keep()
        lock.keep()

        with pytest.raises(AlreadyPublishingError), NodeLock(tmp_path / "state", "n"):
            pass
    assert sum("was removed" in record.getMessage() for record in caplog.records) == 1


def test_lock_that_another_took_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second publisher that came in after the file was removed is reported once, and nothing is taken from it."""
    with NodeLock(tmp_path / "state", "n") as lock:
        shutil.rmtree(tmp_path / "state")
        with NodeLock(tmp_path / "state", "n"):
            lock.keep()
            lock.keep()

    assert sum("could not be locked again" in record.getMessage() for record in caplog.records) == 1


LARGE = """
import ctypes
from claude_gauge.daemon.machine import give_back_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

libc = ctypes.CDLL(None)
libc.mallinfo.restype = Info
blocks = lambda: libc.mallinfo().hblks  # that are given back once they are free
bytearray(30_000_000)  # what glibc learns from: from now on all up to this size is kept
give_back_memory()
before = blocks()
held = bytearray(400_000)
print(blocks() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_blocks_are_given_back() -> None:
    """What a publisher no longer needs of its large arrays is the system's again."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, timeout=60)

    assert int(done.stdout) == 1
