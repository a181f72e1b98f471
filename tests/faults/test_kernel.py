"""File events that the kernel drops, or never gives."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.support.mosquitto import Listener
from tests.support.net import wait_until
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.unshared import unshared
from tests.support.usages import wait_tokens, wait_usage


def test_event_queue_overflow(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """20,000 events while the publisher is frozen, more than the kernel's queue holds: no line is lost or doubled."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for n in range(50):
        claude.append(assistant(time.time(), n), name=f"s{n}.jsonl")
    with Publishing(tmp_path / "run", env=env) as publishing:
        wait_tokens(listener, 50 * SAMPLE)
        os.kill(publishing.pid, signal.SIGSTOP)
        for n in range(50, max(20_000, queue + 4000)):
            claude.append(assistant(time.time(), n), name=f"s{n % 50}.jsonl")
        claude.append(assistant(time.time(), n + 1), name="new/folder/s.jsonl")
        os.kill(publishing.pid, signal.SIGCONT)
        usage = wait_tokens(listener, (n + 2) * SAMPLE)
        claude.append(assistant(time.time(), n + 2), name="new/folder/s.jsonl")
        wait_tokens(listener, (n + 3) * SAMPLE)
        log = publishing.log

    assert not usage["stall"]  # on a slow machine it may look every second for a while, and say so: that is not old
    assert "file events were lost" in log
    assert "Traceback" not in log


def test_watch_limit_reached(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """With 10 watches for 60 folders it looks every second instead, says so once, and `sources` is degraded."""
    for n in range(60):
        claude.append(assistant(time.time(), n), name=f"../-p{n}/s.jsonl")
    limited = unshared('echo 10 >/proc/sys/user/max_inotify_watches; exec "$@"')
    with Publishing(tmp_path / "run", env=env, within=limited) as publishing:
        usage = wait_usage(listener, lambda usage: usage["sources"]["tach"]["why"] == "watch limit reached")
        for n in range(60, 120):
            claude.append(assistant(time.time(), n), name=f"../-p{n - 60}/s.jsonl")
        wait_tokens(listener, 120 * SAMPLE)
        log = publishing.log

    assert not usage["sources"]["tach"]["ok"]
    assert not usage["stall"]
    assert log.count("can't be watched") == 1


def test_no_inotify_instance(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """Where the kernel gives no events at all, lines are found within a second or two, without piling up anything."""
    limited = unshared('echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"')
    with Publishing(tmp_path / "run", env=env, within=limited) as publishing:
        wait_usage(listener, lambda usage: usage["sources"]["tach"]["why"] == "no file events")
        before = _threads(publishing.pid)
        for n in range(1, 6):
            claude.append(assistant(time.time(), n))
            wait_tokens(listener, n * SAMPLE)
        after = _threads(publishing.pid)
        log = publishing.log

    assert after <= before
    assert log.count("cannot watch") == 1
    assert "Traceback" not in log


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_frozen_for_a_while_catches_up(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """Files that come, move and go while the publisher is frozen are found as they are afterwards."""
    with Publishing(tmp_path / "run", env=env) as publishing:
        wait_usage(listener, lambda _: True)
        os.kill(publishing.pid, signal.SIGSTOP)
        wait_until(lambda: _state(publishing.pid) == "T", "the publisher to be frozen")
        path = claude.append(assistant(time.time(), 1), assistant(time.time(), 2))
        path.rename(path.with_name("renamed.jsonl"))
        claude.append(assistant(time.time(), 3), name="gone.jsonl").unlink()
        claude.append(assistant(time.time(), 4), name="../-new/deep/s.jsonl")
        os.kill(publishing.pid, signal.SIGCONT)

        wait_tokens(listener, 3 * SAMPLE)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
