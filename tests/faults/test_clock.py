"""Clocks that jump under the running publisher, by libfaketime."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.usages import Json, wait_usage


def _library() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is missing: apt-get install faketime"
    return str(found[0])


class Clock:
    """The offset of the publisher's clock, in a file that libfaketime reads at every look at the time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.offset = 0
        self.set(0)

    def set(self, offset: int) -> None:
        """Make the clock jump."""
        self.offset = offset
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.replace(self.file)

    def now(self) -> float:
        """Return what the publisher takes for the present."""
        return time.time() + self.offset

    def environment(self) -> dict[str, str]:
        """Return what puts a process under this clock."""
        return {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


@pytest.mark.parametrize("hours", [5, -5, 24 * 30, -24 * 30])
def test_clock_jump(hours: int, claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """After a jump of hours or weeks, either way, payloads bear the new time, and only new lines move the tach."""
    clock = Clock(tmp_path / "clock")
    claude.append(assistant(clock.now(), 1))
    with Publishing(tmp_path / "run", env={**env, **clock.environment()}) as publishing:
        wait_usage(listener, lambda usage: usage["rate_1m"] == SAMPLE)
        clock.set(hours * 3600)

        def jumped(usage: Json) -> bool:
            at = datetime.fromisoformat(usage["updated_at"]).timestamp()
            return abs(at - clock.now()) < 60 and usage["rate_1m"] == 0

        after = wait_usage(listener, jumped)
        claude.append(assistant(clock.now(), 2, model="claude-haiku-5-5"))
        # Where the jump made the publisher count again, its first payload may come before the block is known.
        moved = wait_usage(
            listener,
            lambda usage: usage["rate_1m"] == SAMPLE and usage["last_model"] == "haiku" and not usage["stall"],
        )
        clock.set(0)
        claude.append(assistant(clock.now(), 3, model="claude-sonnet-5-5"))
        wait_usage(listener, lambda usage: usage["last_model"] == "sonnet" and usage["window_5h_tokens"] >= 2 * SAMPLE)
        log = publishing.log

    assert after["stall"]
    assert after["idle"]
    assert not moved["idle"]
    assert "Traceback" not in log
