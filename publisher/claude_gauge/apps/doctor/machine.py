"""This machine: Claude Code's folder, the kernel's watch limits, the clock, the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from claude_gauge.apps.doctor.check import Check, age
from claude_gauge.config import Settings

_PROC = Path("/proc/sys/fs/inotify")
_LITTLE_DISK = 50 * 1024 * 1024
_SKEW_S = 30.0
_TAIL = 1 << 20


def folders(roots: Sequence[Path], now: float) -> Iterator[Check]:
    """Look for transcripts below the roots, and at the newest line's age."""
    link = "Claude Code's folder"
    there = [root for root in roots if root.is_dir()]
    if not there:
        looked = ", ".join(map(str, roots))
        yield Check(link, "fail", f"none of {looked}", "start Claude Code once, or set CLAUDE_CONFIG_DIR to its folder")
        return
    files = [path for root in there for path in root.rglob("*.jsonl") if path.is_file()]
    if not files:
        yield Check(link, "warn", f"no transcript below {', '.join(map(str, there))}", "ask Claude Code something")
        return
    shut = [path for path in files if not os.access(path, os.R_OK)]
    if shut:
        yield Check(link, "fail", f"{len(shut)} transcripts cannot be read, {shut[0]} first", "run as their owner")
    newest = max(path.stat().st_mtime for path in files)
    found = f"{len(files)} transcripts, the newest written {age(now - newest)} ago"
    if newest - now > _SKEW_S:
        yield Check("clock", "warn", f"a transcript is {age(newest - now)} ahead of this clock", "set the clock by NTP")
    yield Check(link, "ok", found)


def watches(roots: Sequence[Path], proc: Path = _PROC) -> Iterator[Check]:
    """Compare the folders to be watched with what the kernel allows."""
    link = "file events"
    try:
        limit = int((proc / "max_user_watches").read_text())
    except (OSError, ValueError):
        yield Check(link, "ok", "no inotify limit on this system")
        return
    count = sum(1 for root in roots if root.is_dir() for _ in os.walk(root))
    if count > limit * 0.8:
        advice = (
            f"raise it: sysctl fs.inotify.max_user_watches={max(524288, limit * 4)}; until then we look every second"
        )
        yield Check(link, "warn", f"{count} folders, {limit} watches allowed", advice)
        return
    yield Check(link, "ok", f"{count} folders of {limit} that may be watched")


def disk(settings: Settings) -> Iterator[Check]:
    """Write a byte where the state lives."""
    folder = settings.state_dir.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Check(
            "state folder", "fail", f"{folder}: {error.strerror}", "free the disk, or set CLAUDE_GAUGE_STATE_DIR"
        )
        return
    found = f"{folder}, {free // 2**20} MiB free"
    yield (
        Check("state folder", "ok", found)
        if free > _LITTLE_DISK
        else Check("state folder", "warn", found, "free the disk")
    )
