"""The whole road: setup, then what Claude Code runs, then a publisher, a broker and a subscriber."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.claude_events import event, status
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.publisher import Publishing, call, environment, run
from tests.support.transcripts import ClaudeHome, assistant, denied
from tests.support.unshared import unshared

from claude_gauge.contract.usage import stamp

TOPIC = "claude-gauge/test/usage"


def usage(received: Received) -> dict[str, Any]:
    """Return the payload that was received."""
    return dict(json.loads(received.payload)) if received.topic == TOPIC else {}


class Desk:
    """A person's Claude Code after `setup`, and a publisher of theirs."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.claude = ClaudeHome(folder / "claude")
        self.env = environment(
            self.claude, folder, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_NODE="test", CLAUDE_GAUGE_HTTP="off"
        )
        assert call("setup", "--yes", env=self.env).returncode == 0
        self.settings = json.loads((self.claude.folder / "settings.json").read_text())
        self.publishing = Publishing(folder / "run", env=self.env)

    def statusline(self, session: str = "s", **windows: tuple[object, object]) -> None:
        """Let Claude Code run its statusline."""
        self._run(self.settings["statusLine"]["command"], status(session, **windows))

    def hook(self, name: str, session: str = "s", **changes: object) -> None:
        """Let Claude Code run the hooks of an event."""
        for group in self.settings["hooks"].get(name, []):
            self._run(group["hooks"][0]["command"], event(name, session, **changes))

    def _run(self, command: str, given: dict[str, Any]) -> None:
        subprocess.run(["/bin/sh", "-c", command], input=json.dumps(given).encode(), env=self.env, check=True)


@pytest.fixture
def desk(tmp_path: Path, broker: Mosquitto) -> Desk:
    """Give a desk of this test's own."""
    return Desk(tmp_path, broker)


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """Listen to the payloads."""
    with Listener(broker.port, TOPIC) as running:
        yield running


def test_plan_figures(desk: Desk, listener: Listener) -> None:
    """What Claude Code's statusline was reported is what every subscriber gets; an old terminal takes nothing back."""
    resets = float(int(time.time()) + 3600)
    week = resets + 86400
    desk.claude.append(assistant(time.time(), 1))
    with desk.publishing:
        listener.wait(lambda received: usage(received).get("fuel_source") == "ceiling")
        desk.statusline("old", five_hour=(30, resets))
        listener.wait(lambda received: usage(received).get("window_5h_pct") == 0.3)
        desk.statusline(five_hour=(42, resets), seven_day=(7.5, stamp(week)))
        received = listener.wait(lambda received: usage(received).get("window_5h_pct") == 0.42)
        seen = len(listener.messages)
        desk.statusline("old", five_hour=(30, resets))
        desk.statusline("s", five_hour=(43, resets))
        later = listener.wait(lambda received: usage(received).get("window_5h_pct") == 0.43, after=seen)

    reported = usage(received)
    assert (reported["window_5h_pct"], reported["window_7d_pct"]) == (0.42, 0.075)
    assert (reported["window_5h_resets_at"], reported["window_7d_resets_at"]) == (stamp(resets), stamp(week))
    assert reported["sources"]["plan"] == {"source": "statusline", "ok": True, "why": None}
    assert not reported["stall"]
    assert 0.3 not in [usage(each).get("window_5h_pct") for each in listener.messages[seen:]]
    assert usage(later)["window_7d_pct"] == 0.075


def test_after_the_reset(desk: Desk, listener: Listener) -> None:
    """When the window resets the plan's share is dropped at once and the ceiling stands in, until newer news."""
    desk.claude.append(assistant(time.time(), 1))
    with desk.publishing:
        listener.wait(lambda received: usage(received).get("fuel_source") == "ceiling")
        desk.statusline(five_hour=(97, time.time() + 8))  # has to be seen before that, on a busy machine, too
        assert usage(listener.wait(lambda received: bool(usage(received).get("warn"))))["window_5h_pct"] == 0.97
        seen = len(listener.messages)
        fallen = usage(listener.wait(lambda received: usage(received).get("fuel_source") == "ceiling", after=seen))
        desk.statusline(five_hour=(1, time.time() + 5 * 3600))
        again = usage(listener.wait(lambda received: usage(received).get("window_5h_pct") == 0.01))

    assert fallen["window_5h_pct"] < 0.01
    assert not fallen["warn"]
    assert again["fuel_source"] == "plan"


def test_waiting(desk: Desk, listener: Listener) -> None:
    """A permission dialog lights the lamp at once and its end puts it out; several sessions count together."""
    with desk.publishing:
        assert usage(listener.wait(lambda received: received.topic == TOPIC))["waiting"] is None
        desk.hook("UserPromptSubmit")
        listener.wait(lambda received: usage(received).get("waiting") is False)
        desk.hook("PermissionRequest")
        desk.hook("Notification", "other", notification_type="idle_prompt")
        listener.wait(lambda received: usage(received).get("waiting") is True)
        seen = len(listener.messages)
        desk.hook("PostToolBatch")
        desk.hook("UserPromptSubmit", "other")
        listener.wait(lambda received: usage(received).get("waiting") is False, after=seen)


def test_escape(desk: Desk, listener: Listener) -> None:
    """No hook fires at Escape: the line that the transcript gets then puts the lamp out, in an agent's file, too."""
    with desk.publishing:
        for agent in (None, "a1"):
            seen = len(listener.messages)
            desk.hook("PermissionRequest", "session", agent_id=agent)
            listener.wait(lambda received: usage(received).get("waiting") is True, after=seen)
            seen = len(listener.messages)
            desk.claude.append(denied(time.time(), agentId=agent), name=f"session/subagents/agent-{agent}.jsonl")
            listener.wait(lambda received: usage(received).get("waiting") is False, after=seen)


def test_publisher_restarts(desk: Desk, listener: Listener) -> None:
    """A publisher that was down knows, as soon as it is up, what was reported meanwhile."""
    desk.statusline(five_hour=(64, time.time() + 3600))
    desk.hook("PermissionRequest")
    with desk.publishing:
        first = usage(listener.wait(lambda received: received.topic == TOPIC))

    assert (first["window_5h_pct"], first["waiting"]) == (0.64, True)


def test_once(desk: Desk) -> None:
    """`publish --once` and `show` know the plan, too."""
    desk.statusline(five_hour=(64, time.time() + 3600))
    printed = json.loads(run("publish", "--once", env=desk.env).stdout)

    assert (printed["window_5h_pct"], printed["fuel_source"]) == (0.64, "plan")


def test_full_state_disk(tmp_path: Path) -> None:
    """Where nothing can be stored any more the old figure does not pass for a new one, and `waiting` is unknown."""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "old").write_text(json.dumps(status(five_hour=(20, time.time() + 3600))))
    (tmp_path / "new").write_text(json.dumps(status(five_hour=(70, time.time() + 3600))))
    (tmp_path / "stop").write_text(json.dumps(event("Stop")))
    gauge = f"{sys.executable} -m claude_gauge"
    script = f"""
        mount -t tmpfs -o size=32k full {state}
        {gauge} hook --state-dir {state} <{tmp_path}/stop
        {gauge} statusline --state-dir {state} <{tmp_path}/old >/dev/null
        {gauge} show --json >{tmp_path}/before
        cat /dev/zero >{state}/fill || true
        {gauge} statusline --state-dir {state} <{tmp_path}/new
        {gauge} show --json >{tmp_path}/after
    """
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER="mqtt://127.0.0.1:9")
    env["CLAUDE_GAUGE_STATE_DIR"] = str(state)
    done = subprocess.run(unshared(script), env=env, capture_output=True, text=True, check=True)
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("before", "after"))

    assert done.stdout.strip().endswith("claude-gauge cannot write: No space left on device")
    assert (before["window_5h_pct"], before["waiting"], before["sources"]["plan"]["ok"]) == (0.2, False, True)
    assert after["sources"]["plan"] == {"source": "statusline", "ok": False, "why": "state disk full"}
    assert after["waiting"] is None
