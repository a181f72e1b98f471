"""Disks that are full or may not be written."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.mosquitto import Listener
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant, encoded
from tests.support.unshared import unshared
from tests.support.usages import wait_tokens, wait_usage


def test_full_disk(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """With the state folder on a disk without a byte to spare, publishing goes on."""
    state = tmp_path / "state"
    state.mkdir()
    full = unshared(f'mount -t tmpfs -o size=16k full {state}; cat /dev/zero >{state}/fill || true; exec "$@"')
    with Publishing(tmp_path / "run", env=env, within=full) as publishing:
        wait_usage(listener, lambda _: True)
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)
        log = publishing.log

        assert publishing.end() == 0
    assert "Traceback" not in log


def test_read_only_state(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """A state folder that may not be written is reported in one line that says which, and publishing goes on."""
    state = tmp_path / "state"
    state.mkdir()
    read_only = unshared(f'mount -t tmpfs -o ro none {state}; exec "$@"')
    with Publishing(tmp_path / "run", env=env, within=read_only) as publishing:
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)
        log = publishing.log

        assert publishing.end() == 0
    assert log.count(f"cannot write {state}/test.lock") == 1
    assert "Traceback" not in log


def test_read_only_transcripts(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """Transcripts are only read: a read-only mount of them is followed like any other."""
    claude.append(assistant(time.time(), 1))
    read_only = unshared(
        f'mount --rbind {claude.folder} {claude.folder}; mount -o remount,ro,bind {claude.folder}; exec "$@"'
    )
    with Publishing(tmp_path / "run", env=env, within=read_only):
        wait_tokens(listener, SAMPLE)
        claude.append(assistant(time.time(), 2))

        wait_tokens(listener, 2 * SAMPLE)


def test_line_cut_by_a_full_disk(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """Claude Code's disk fills up in the middle of a line; when there is room again the next lines count."""
    torn = encoded(assistant(time.time(), 1))[:200]
    path = claude.append(assistant(time.time(), 2))
    with Publishing(tmp_path / "run", env=env):
        wait_tokens(listener, SAMPLE)
        with path.open("ab", buffering=0) as file:
            file.write(torn)
        claude.append(assistant(time.time(), 3))

        wait_tokens(listener, 2 * SAMPLE)
