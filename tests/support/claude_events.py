"""What Claude Code would run and say: its own samples, with plan figures as subscribers get them."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.support import ROOT
from tests.support.net import PATIENCE_S
from tests.support.publisher import call

SAMPLES = ROOT / "tests" / "samples"
STATUSES: list[dict[str, Any]] = [json.loads(line) for line in (SAMPLES / "statusline.ndjson").read_text().splitlines()]
EVENTS: dict[str, dict[str, Any]] = {
    event["hook_event_name"]: event for event in map(json.loads, (SAMPLES / "hook.ndjson").read_text().splitlines())
}
SESSION = str(EVENTS["Stop"]["session_id"])
_BY_PEOPLE = ("setup", "calibrate", "config", "show")
GAUGE = [sys.executable, "-m", "claude_gauge"]


def status(session: str = SESSION, **windows: tuple[object, object]) -> dict[str, Any]:
    """Return a statusline's input; `five_hour=(percentage, resets_at)` adds that window."""
    given = {**copy.deepcopy(STATUSES[1]), "session_id": session}
    if windows:
        slots = {slot: {"used_percentage": used, "resets_at": at} for slot, (used, at) in windows.items()}
        given["rate_limits"] = slots
    return given


def event(name: str, session: str = SESSION, **changes: object) -> dict[str, Any]:
    """Return a hook's input; `None` takes a key out."""
    merged = {**EVENTS[name], "session_id": session, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def run(
    arguments: list[str], text: bytes | Mapping[str, object] = b"", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the real command with this on its standard input; in a process of its own what Claude Code starts."""
    given = text if isinstance(text, bytes) else json.dumps(text).encode()
    if arguments[0] in _BY_PEOPLE:
        done = call(*arguments, env=environ or os.environ, typed=given.decode())
        return subprocess.CompletedProcess(arguments, done.returncode, done.stdout.encode(), done.stderr.encode())
    return subprocess.run(
        [*GAUGE, *arguments],
        input=given,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env=environ or os.environ,
    )
