"""The real Claude Code, offline, with the settings that `setup` wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.claude_code import Api, ClaudeCode
from tests.support.claude_events import run
from tests.support.net import wait_until

from claude_gauge.config import Settings
from claude_gauge.hooks import spool
from claude_gauge.sources.statusline.source import Plan

pytestmark = pytest.mark.timeout(180)
PATIENCE_S = 60


class Desk:
    """A home with Claude Code set up, and the source that reads what it tells."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = home / ".claude" / "settings.json"
        self.settings.parent.mkdir(parents=True)
        own = {"type": "command", "command": "echo 'the person'\\''s own line'"}
        permissions: dict[str, object] = {"allow": []}
        self.settings.write_text(json.dumps({"permissions": permissions, "statusLine": own}))
        self.state = home / "state"
        done = run(
            ["setup", "--yes", "--state-dir", str(self.state)], environ={"HOME": str(home), "PATH": "/usr/bin:/bin"}
        )
        assert done.returncode == 0, done.stderr
        self.plan = Plan(Settings(state_dir=self.state))
        self.plan.start(lambda: None)

    @property
    def waiting(self) -> bool | None:
        """Tell whether Claude waits, as a publisher knows it."""
        return self.plan.read(time.time()).waiting

    def ask(self, claude: ClaudeCode) -> None:
        """Bring Claude Code to where it asks for permission."""
        wait_until(lambda: "own line" in claude.screen, "Claude Code's statusline", PATIENCE_S)
        claude.type("please")
        wait_until(lambda: "please" in claude.screen, "the prompt", PATIENCE_S)
        claude.type("\r")
        wait_until(lambda: self.waiting is True, "Claude to wait", PATIENCE_S)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk of this test's own."""
    opened = Desk(tmp_path / "person")
    yield opened
    opened.plan.stop()


def test_permission_is_given(desk: Desk, tmp_path: Path) -> None:
    """Claude Code shows the person's own line, and waits from its question to the answer, not to the tool's end."""
    ended = tmp_path / "ended"
    with Api(f"sleep 20; touch {ended}") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        time_asked = time.time()
        wait_until(lambda: time.time() > time_asked + 3, "longer than a late statusline takes")
        assert desk.waiting is True
        claude.type("\r")
        wait_until(lambda: desk.waiting is False, "the end of the wait", PATIENCE_S)
        running = not ended.exists()
    (status,) = [spool.load(str(path)) for path in (desk.state / "plan").glob("*.status")]

    assert running
    assert str(status["model"]).startswith("claude-")


def test_escape(desk: Desk) -> None:
    """No hook fires when the person presses Escape: the statusline that runs again tells it."""
    with Api("touch never") as api, ClaudeCode(desk.home, api) as claude:
        desk.ask(claude)
        time_asked = time.time()
        wait_until(lambda: time.time() > time_asked + 3, "longer than a late statusline takes")
        claude.type("\x1b")
        wait_until(lambda: desk.waiting is False, "the end of the wait", PATIENCE_S)

    assert not (desk.home / "work" / "never").exists()
