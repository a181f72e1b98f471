"""The result of a check, and the checks of this machine: Claude Code's folder, watch limits, clock, disk, web page."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from claude_gauge.config import Settings
from claude_gauge.mqtt.endpoint import EMBEDDED, LOCAL_URL, parse
from claude_gauge.system.net import WILDCARDS, answers, host_of
from claude_gauge.system.plain_text import counted


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain: its state, what was found, and what to do unless it is ok."""

    link: str
    state: Literal["ok", "warn", "fail", "off"]
    found: str
    advice: str = ""


def age(seconds: float) -> str:
    """Write an age in seconds as text: `3 min`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


_PROC = Path("/proc/sys/fs/inotify")
_LITTLE_DISK = 50 * 1024 * 1024
_SKEW_S = 30.0
FOLDER = "Claude Code's folder"


def folders(settings: Settings, roots: Sequence[Path], now: float, *, named: bool = False) -> Iterator[Check]:
    """Look for transcripts below the roots, and at the newest line's age; `named`: CLAUDE_CONFIG_DIR names them."""
    there = [root for root in roots if root.is_dir()]
    shut: list[OSError] = []
    files = [path for root in there for path in _transcripts(root, shut)]
    if shut:
        found = f"{counted(len(shut), 'folder')} cannot be read, {shut[0].filename} first: {shut[0].strerror}"
        yield Check(FOLDER, "fail", found, "run as their owner, or let this user read them")
    closed = [path for path in files if not os.access(path, os.R_OK)]
    if closed:
        found = f"{counted(len(closed), 'transcript')} cannot be read, {closed[0]} first"
        yield Check(FOLDER, "fail", found, "run as their owner, or let this user read them")
    if not files:
        yield _none(settings, roots, there, named=named)
        return
    newest = max(_changed(path) for path in files)
    if newest - now > _SKEW_S:
        yield Check("clock", "warn", f"a transcript is {age(newest - now)} ahead of this clock", "set the clock by NTP")
    if not shut and not closed:
        yield Check(FOLDER, "ok", f"{counted(len(files), 'transcript')}, the newest written {age(now - newest)} ago")


def only_shows(settings: Settings, roots: Sequence[Path], *, named: bool) -> bool:
    """Return whether this machine only shows other machines' figures: it has no Claude Code, but a broker."""
    if named or settings.source not in {"auto", "transcripts"} or any(root.is_dir() for root in roots):
        return False
    if settings.broker is not None:
        return settings.broker != EMBEDDED
    return answers("localhost", parse(LOCAL_URL).port)


def other_source(settings: Settings) -> str:
    """Return what else has all figures where there are no transcripts; empty where nothing has."""
    if settings.source in {"prometheus", "otlp"}:
        return settings.source
    if settings.source in {"auto", "hybrid"} and settings.prometheus is not None:
        return "prometheus"
    return "otlp" if settings.receives_otlp else ""


def _none(settings: Settings, roots: Sequence[Path], there: Sequence[Path], *, named: bool) -> Check:
    """Return the check for a machine without transcripts: `off` where none are needed."""
    looked = ", ".join(map(str, there or roots))
    found = f"no transcript below {looked}" if there else f"none of {looked}"
    if elsewhere := other_source(settings):
        return Check(FOLDER, "off", f"{found}: not needed, {elsewhere} has the figures")
    if only_shows(settings, roots, named=named):
        return Check(
            FOLDER, "off", f"{found}: not needed on a machine that only shows", "start Claude Code to change it"
        )
    if there:
        return Check(FOLDER, "warn", found, "ask Claude Code something")
    return Check(FOLDER, "fail", found, "start Claude Code once, or set CLAUDE_CONFIG_DIR to its folder")


def _transcripts(root: Path, shut: list[OSError]) -> Iterator[Path]:
    for folder, _, names in os.walk(root, onerror=shut.append):
        yield from (Path(folder, name) for name in names if name.endswith(".jsonl"))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # gone meanwhile


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
        yield Check(link, "warn", f"{counted(count, 'folder')}, {limit} watches allowed", advice)
        return
    yield Check(link, "ok", f"{counted(count, 'folder')} of {limit} that may be watched")


def disk(settings: Settings) -> Iterator[Check]:
    """Check that the state folder can be written to and has space left."""
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


TIMEOUT_S = 3.0


def shim(settings: Settings, *, only_shows: bool = False) -> Iterator[Check]:
    """Ask `/healthz` at the publisher's address."""
    if settings.http == "off":
        yield Check("HTTP", "off", "switched off")
        return
    host, _, port = settings.http.rpartition(":")
    url = f"http://{'127.0.0.1' if host_of(settings.http) in WILDCARDS else host}:{port}/healthz"
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
        is_ours = "broker" in answer.json()
    except (httpx.HTTPError, ValueError, TypeError):
        if only_shows:
            yield Check("HTTP", "off", "no publisher on this machine: it only shows")
        else:
            found = f"no publisher answers at {url}"
            yield Check("HTTP", "warn", found, "start `claude-gauge publish`, or set --http off")
        return
    if not is_ours:
        yield Check("HTTP", "warn", f"{url} is not ours", "another program has this port: choose one with --http")
        return
    broker = answer.json()["broker"]
    if isinstance(broker, dict) and (why := broker.get("why")) and not only_shows:
        yield Check("publisher's broker", "warn", str(why), "this is what the running publisher meets; see its log")
    if answer.is_error:
        found = f"{url} answers {answer.status_code}: its newest payload is old"
        yield Check("HTTP", "warn", found, "the publisher's log says more; start it again if it says nothing")
        return
    yield Check("HTTP", "ok", f"{url} answers {answer.status_code}")
