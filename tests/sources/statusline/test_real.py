"""The real Claude Code, offline, with the settings that `setup` wrote."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.claude_code import SUBSCRIBER, Api, ClaudeCode, answered, bash, subscriber, text, tool
from tests.support.claude_events import run
from tests.support.net import wait_until

from claude_gauge.config import Settings
from claude_gauge.hooks import spool
from claude_gauge.sources.statusline.source import Plan
from claude_gauge.sources.transcripts.source import Transcripts

NOTIFIED_S = 7.5  # after a request that is still open
PATIENT_S = 6.5  # so long at least the rule waits for a notification


class Desk:
    """A home with Claude Code set up, and the sources that read what it reports, as a publisher has them."""

    def __init__(self, home: Path, record: Callable[[str, object], None]) -> None:
        self.home = home
        self.record = record
        self.settings = home / ".claude" / "settings.json"
        (self.settings.parent / "projects").mkdir(parents=True)  # as after any session: a new one is found by a scan
        own = {"type": "command", "command": "echo 'the person'\\''s own line'"}
        permissions: dict[str, object] = {"allow": ["Bash(echo:*)", "Bash(sleep:*)"]}
        self.settings.write_text(json.dumps({"permissions": permissions, "statusLine": own}))
        self.state = home / "state"
        done = run(
            ["setup", "--yes", "--state-dir", str(self.state)], environ={"HOME": str(home), "PATH": "/usr/bin:/bin"}
        )
        assert done.returncode == 0, done.stderr
        self.plan = Plan(Settings(state_dir=self.state))
        self.lamp: list[bool | None] = []
        self.plan.start(lambda: self.lamp.append(self.waiting))
        self.transcripts = Transcripts([home / ".claude" / "projects"], denied=self.plan.denied)
        self.transcripts.start(lambda: None)

    def close(self) -> None:
        """Stop both sources."""
        self.transcripts.stop()
        self.plan.stop()

    @property
    def waiting(self) -> bool | None:
        """Return whether Claude waits, as a publisher knows it."""
        return self.plan.read(time.time()).waiting

    def begin(self, claude: ClaudeCode) -> None:
        """Give Claude Code a prompt."""
        wait_until(lambda: "own line" in claude.screen, "Claude Code's statusline")
        claude.type("please")
        wait_until(lambda: "please" in claude.screen, "the prompt")
        claude.type("\r")

    def ask(self, claude: ClaudeCode) -> None:
        """Bring Claude Code to where it asks for permission."""
        self.begin(claude)
        wait_until(lambda: self.waiting is True, "Claude to wait")
        wait_until(lambda: "Do you want to" in claude.screen, "the dialog")

    def reported(self, name: str) -> list[dict[str, Any]]:
        """List what the hooks reported of an event."""
        (path,) = (self.state / "plan").glob("*.events")
        records = [json.loads(line) for line in path.read_bytes().splitlines() if line]
        return [record for record in records if record["event"] == name]

    def stays_lit(self, for_s: float) -> bool:
        """Return whether the lamp stays lit so long."""
        end = time.time() + for_s
        wait_until(lambda: self.waiting is not True or time.time() > end, "the time to pass")
        return self.waiting is True

    def is_lit_again(self) -> bool:
        """Wait for the notification of a client that, on a busy machine, sends it after the rule's 7 s."""
        return wait_until(lambda: self.waiting is True, "the client's late notification")

    def ends(self, claude: ClaudeCode, key: str, what: str) -> None:
        """Press a key that closes the last dialog, and note how long the lamp takes to go out."""
        pressed = time.time()
        claude.type(key)
        wait_until(lambda: self.waiting is False, f"the end of the wait: {what}")
        self.record("figure", f"real Claude Code, {what}: lamp out {time.time() - pressed:.2f} s after the key")


@pytest.fixture
def desk(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Desk]:
    """Give a desk of this test's own."""
    opened = Desk(tmp_path / "person", record_property)
    yield opened
    opened.close()


def test_permission_is_given(desk: Desk, tmp_path: Path) -> None:
    """Claude Code shows the person's own line, and waits from its question to the answer, not to the tool's end."""
    ended = tmp_path / "ended"
    with Api(f"sleep 20; touch {ended}") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        assert desk.stays_lit(3)  # longer than a late statusline takes
        desk.ends(claude, "\r", "a granted tool that runs on")
        running = not ended.exists()
    (status,) = [spool.load(str(path)) for path in (desk.state / "plan").glob("*.status")]

    assert running
    assert str(status["model"]).startswith("claude-")


def test_quick_escape(desk: Desk) -> None:
    """No hook fires when the person presses Escape: the transcript ends the wait at once, also right after it began."""
    with Api("touch never") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        desk.ends(claude, "\x1b", "a quick Escape")

    assert not (desk.home / "work" / "never").exists()


def test_two_parallel_asks(desk: Desk) -> None:
    """Two calls that ask at once light the lamp until the second is answered, past the first one's end."""
    with Api("cat /etc/hostname", "cat /etc/os-release") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        wait_until(lambda: len(desk.reported("PermissionRequest")) == 2, "both questions")
        assert desk.stays_lit(3)
        claude.type("\r")
        wait_until(lambda: desk.reported("PostToolUse"), "the end of the first call")
        assert desk.stays_lit(PATIENT_S)
        assert desk.stays_lit(NOTIFIED_S - PATIENT_S) or desk.is_lit_again()
        desk.ends(claude, "\r", "the second of two asks")
        wait_until(lambda: len(desk.reported("PostToolUse")) == 2, "the end of the second call")


def test_killed(desk: Desk) -> None:
    """A client that is killed beside its dialog reports nothing: that its process is gone ends the wait."""
    with Api("touch never") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        killed = time.time()
        claude.kill()
        wait_until(lambda: desk.waiting is False, "the end of the wait")
    desk.record("figure", f"real Claude Code, kill -9: lamp out {time.time() - killed:.2f} s after it")


def test_headless_run(desk: Desk) -> None:
    """A headless run is denied by itself what it asks for: nobody is waited for, though its hooks say that it asked."""
    with Api("touch never") as api:
        code = ClaudeCode(desk.home, api).headless("please")
    wait_until(lambda: desk.waiting is False, "the hooks' word")

    assert code == 0
    assert True not in desk.lamp
    assert not (desk.home / "work" / "never").exists()


def test_plan_figures(desk: Desk) -> None:
    """A subscriber's client reports the plan's figures after each answer: they rise, and fall when the plan says so."""
    used, resets_at = [0.85], time.time() + 3600

    def shown() -> float | None:
        window = desk.plan.read(time.time()).plan_5h
        return window.share if window else None

    api = Api(script=lambda _: [text("a word")], headers=lambda: subscriber(used[0], resets_at))
    with api, ClaudeCode(desk.home, api, **SUBSCRIBER) as claude:
        desk.begin(claude)
        wait_until(lambda: shown() == 0.85, "the first figure")
        used[0] = 0.17
        claude.type("again")
        wait_until(lambda: "again" in claude.screen, "the second prompt")
        claude.type("\r")
        wait_until(lambda: shown() == 0.17, "the figure to fall")
        limit = desk.plan.read(time.time()).limit

    assert limit is not None
    assert (limit.name, limit.share) == ("seven_day", 0.3)


def agents(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Have the main agent start one in the background and ask; the other ends by itself some seconds later."""
    if "count the words" in json.dumps(body["messages"][:1]):
        return [text("three")] if answered(body) else [bash("sleep 4; echo three")]
    if answered(body):
        return [text("all done")]
    started = tool("Agent", description="Count", prompt="count the words", subagent_type="general-purpose")
    return [started, bash("touch asked")]


def test_agent_ends_beside_an_open_dialog(desk: Desk) -> None:
    """A background agent works and ends beside the main agent's dialog: the lamp stays lit until that is answered."""
    with Api(script=agents) as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        wait_until(lambda: desk.reported("SubagentStop"), "the agent's end")
        worked = desk.reported("PostToolUse")
        assert desk.stays_lit(PATIENT_S)
        assert desk.stays_lit(NOTIFIED_S - PATIENT_S) or desk.is_lit_again()
        desk.ends(claude, "\r", "beside an agent that ended")
        wait_until((desk.home / "work" / "asked").exists, "what was asked for")

    assert any(record.get("agent") for record in worked)


SERVER = r"""
import json, sys

def say(**more):
    print(json.dumps({"jsonrpc": "2.0", **more}), flush=True)

call = None
for line in sys.stdin:
    given = json.loads(line)
    method, number = given.get("method"), given.get("id")
    if method == "initialize":
        version = given["params"]["protocolVersion"]
        info = {"name": "x", "version": "1"}
        say(id=number, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        say(id=number, result={"tools": [{"name": "ask", "inputSchema": {"type": "object", "properties": {}}}]})
    elif method == "tools/call":
        call = number
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
        say(id="q1", method="elicitation/create", params={"message": "Shall it be?", "requestedSchema": schema})
    elif number == "q1":
        say(id=call, result={"content": [{"type": "text", "text": "thanks"}]})
    elif number is not None:
        say(id=number, result={})
"""


def test_question_of_an_mcp_server(desk: Desk) -> None:
    """A question that an MCP server puts lights the lamp, and its answer, here a refusal, puts it out."""
    server = desk.home / "server.py"
    server.write_text(SERVER)
    config = desk.home / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"x": {"command": sys.executable, "args": [str(server)]}}}))

    def script(body: dict[str, Any]) -> list[dict[str, Any]]:
        return [text("all done")] if answered(body) else [tool("mcp__x__ask")]

    arguments = ("--mcp-config", str(config), "--allowedTools", "mcp__x__ask")
    with Api(script=script) as api, ClaudeCode(desk.home, api, *arguments) as claude:
        desk.begin(claude)
        wait_until(lambda: desk.waiting is True, "Claude to wait")
        wait_until(lambda: "Shall it be?" in claude.screen, "the question")
        assert desk.stays_lit(PATIENT_S)
        assert desk.stays_lit(NOTIFIED_S - PATIENT_S) or desk.is_lit_again()
        desk.ends(claude, "\x1b", "an MCP server's question")
        asked = desk.reported("Elicitation")

    assert len(asked) == 1
