"""What stands in Claude Code's settings and yet has no effect, as setup and doctor report it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.support.claude_events import event, run, status

from claude_gauge.apps.doctor.sources import claude_code
from claude_gauge.claude_code.entries import Ours, program
from claude_gauge.claude_code.folders import managed_files, obstacles
from claude_gauge.config import Settings


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    """A config folder in which setup was run."""
    folder = tmp_path / ".claude"
    (folder / "projects" / "-p").mkdir(parents=True)
    assert run(["setup", "--yes"], environ=environ(folder)).returncode == 0
    return folder


def environ(folder: Path) -> dict[str, str]:
    """The environment of a person with this config folder."""
    home = folder.parent
    named = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(folder), "CLAUDE_GAUGE_STATE_DIR": str(home / "state")}
    return {**os.environ, **named}


def results(folder: Path) -> list[tuple[str, str]]:
    """What the doctor says of it."""
    checks = list(claude_code(Settings(state_dir=folder.parent / "state"), environ(folder)))
    assert all(check.advice for check in checks if check.state != "ok")
    return [(check.state, check.found) for check in checks]


@pytest.mark.parametrize("switch", ["allowManagedHooksOnly", "disableAllHooks"])
def test_server_manages_settings(claude: Path, switch: str) -> None:
    """What the server switched off is reported by the doctor and by setup."""
    (claude / "remote-settings.json").write_text(json.dumps({switch: True}))
    said = run(["setup", "--yes"], environ=environ(claude)).stderr.decode()

    assert [state for state, _ in results(claude)] == ["warn"]
    assert switch in results(claude)[0][1]
    assert "managed" in said
    assert switch in said


def test_machine_manages_settings(claude: Path, tmp_path: Path) -> None:
    """The machine's settings are looked at, also those that are dropped in, and a statusline of theirs."""
    machine = tmp_path / "etc"
    (machine / "managed-settings.d").mkdir(parents=True)
    assert list(obstacles(claude / "settings.json", machine)) == []
    (machine / "managed-settings.json").write_text('{"statusLine": {"type": "command", "command": "corp"}}')
    (machine / "managed-settings.d" / "10-hooks.json").write_text('{"allowManagedHooksOnly": true}')
    reported = [each.problem for each in obstacles(claude / "settings.json", machine)]

    assert ["statusLine" in reported[0], "10-hooks.json" in reported[1]] == [True, True]
    assert managed_files()[0].name == "managed-settings.json"


@pytest.mark.parametrize("content", ["{broken", "[]", '{"allowManagedHooksOnly": "yes"}', '{"statusLine": null}'])
def test_managed_settings_that_switch_nothing(claude: Path, content: str) -> None:
    """Settings that can't be read, or say something else, are no obstacle."""
    (claude / "remote-settings.json").write_text(content)

    assert [state for state, _ in results(claude)] == ["ok"]


def test_statusline_of_a_project(claude: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statusline of a project's own is reported, whether we stand in that project or Claude Code lately did."""
    project = tmp_path / "project"
    (project / ".claude").mkdir(parents=True)
    (project / ".claude" / "settings.local.json").write_text('{"statusLine": {"type": "command", "command": "x"}}')
    monkeypatch.chdir(tmp_path)
    assert [state for state, _ in results(claude)] == ["ok"]
    (claude / "projects" / "-p" / "s.jsonl").write_text(json.dumps({"type": "user", "cwd": str(project)}) + "\n{half")
    assert "project" in " ".join(text for _, text in results(claude))
    (claude / "projects" / "-p" / "s.jsonl").unlink()
    monkeypatch.chdir(project)

    assert [state for state, _ in results(claude)] == ["warn"]


def test_never_called(claude: Path) -> None:
    """Set up, a session ran since, and nothing came: that is reported; once something came it is not."""
    assert [state for state, _ in results(claude)] == ["ok"]
    transcript = claude / "projects" / "-p" / "s.jsonl"
    transcript.write_text("{}\n")
    os.utime(transcript, (time.time() + 60, time.time() + 60))
    assert [(state, "never called" in text) for state, text in results(claude)] == [("warn", True)]
    ours = Ours(program(), str(claude.parent / "state"))
    assert ours.hook() in json.loads((claude / "settings.json").read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    run(["statusline", "--state-dir", str(claude.parent / "state")], status())

    assert [state for state, _ in results(claude)] == ["ok"]


def test_nothing_can_be_handed_over(claude: Path) -> None:
    """A folder for Claude Code's reports that can't be written to is a warning of its own."""
    run(["hook", "--state-dir", str(claude.parent / "state")], event("Stop"))
    folder = claude.parent / "state" / "plan"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file in its place")

    assert [(state, "nothing can be written" in text) for state, text in results(claude)] == [("warn", True)]
