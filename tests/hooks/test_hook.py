from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.claude_events import EVENTS, SESSION, event, run

from claude_gauge.hooks.hook import EVENTS as ASKED_FOR
from claude_gauge.hooks.hook import note

RAISES = [
    event("PermissionRequest"),
    event("Notification", notification_type="permission_prompt"),
    event("Notification", notification_type="worker_permission_prompt"),
    event("Notification", notification_type="elicitation_dialog"),
    event("Notification", notification_type="elicitation_url_dialog"),
    event("Notification", notification_type="idle_prompt"),
]
CLEARS = ["UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"]


def waiting(folder: Path) -> list[str]:
    """Name the waits that are noted."""
    return sorted(path.name for path in folder.glob("*.wait"))


@pytest.mark.parametrize("raising", RAISES)
@pytest.mark.parametrize("clearing", CLEARS)
def test_raised_and_cleared(tmp_path: Path, raising: dict[str, object], clearing: str) -> None:
    """Each event that means waiting notes it, and each event that ends waiting takes it away."""
    note(raising, str(tmp_path), 0)
    assert len(waiting(tmp_path)) == 1
    note(event(clearing), str(tmp_path), 1)

    assert waiting(tmp_path) == []


@pytest.mark.parametrize("name", sorted(EVENTS.keys() - {"PermissionRequest", "Notification"} - set(CLEARS)))
def test_other_events_say_nothing(tmp_path: Path, name: str) -> None:
    """Events that have nothing to do with waiting neither begin nor end it."""
    note(event(name), str(tmp_path), 0)
    assert waiting(tmp_path) == []
    note(event("PermissionRequest", agent_id="another"), str(tmp_path), 1)
    note(event(name), str(tmp_path), 2)

    assert len(waiting(tmp_path)) == 1


def test_notification_of_something_else(tmp_path: Path) -> None:
    """A notification that asks nothing of the person, also one that is not known yet, is no wait."""
    for kind in ("auth_success", "agent_completed", "not_known_yet", None, 3):
        note(event("Notification", notification_type=kind), str(tmp_path), 0)

    assert waiting(tmp_path) == []


def test_stop_with_background_tasks(tmp_path: Path) -> None:
    """A Stop while tasks go on in the background is not the end: one of them may be what waits."""
    note(event("PermissionRequest", agent_id="a1"), str(tmp_path), 0)
    note(event("Stop", background_tasks=[{"id": "a1", "type": "subagent", "status": "running"}]), str(tmp_path), 1)
    assert len(waiting(tmp_path)) == 1
    note(event("Stop"), str(tmp_path), 2)

    assert waiting(tmp_path) == []


def test_agents_do_not_clear_one_another(tmp_path: Path) -> None:
    """While one agent waits the others' tools go on running; only its own next step ends the wait."""
    note(event("PermissionRequest", agent_id="a1"), str(tmp_path), 0)
    note(event("PreToolUse", agent_id="a2"), str(tmp_path), 1)
    note(event("PostToolUse"), str(tmp_path), 2)
    assert waiting(tmp_path) == [f"{SESSION}.a1.wait"]
    note(event("PostToolUse", agent_id="a1"), str(tmp_path), 3)

    assert waiting(tmp_path) == []


def test_agent_that_ended_waits_no_more(tmp_path: Path) -> None:
    """A subagent whose request was refused may just end."""
    note(event("PermissionRequest", agent_id="a1"), str(tmp_path), 0)
    note(event("SubagentStop", agent_id="a1"), str(tmp_path), 1)

    assert waiting(tmp_path) == []


def test_notification_after_the_request(tmp_path: Path) -> None:
    """The notification that follows a request by seconds is the same wait, with its first time."""
    note(event("PermissionRequest"), str(tmp_path), 100)
    note(event("Notification", notification_type="permission_prompt"), str(tmp_path), 106)

    assert waiting(tmp_path) == [f"{SESSION}.main.wait"]
    assert json.loads((tmp_path / waiting(tmp_path)[0]).read_text()) == {"at": 100, "kind": "permission"}


def test_sessions_are_apart(tmp_path: Path) -> None:
    """What one session does says nothing of another, not even of one whose name begins alike."""
    note(event("PermissionRequest", "s1"), str(tmp_path), 0)
    note(event("PermissionRequest", "s10"), str(tmp_path), 0)
    note(event("Stop", "s1"), str(tmp_path), 1)

    assert waiting(tmp_path) == ["s10.main.wait"]


@pytest.mark.parametrize(
    "given", [b"", b"{", b"[]", b"null", b"{}", b'{"session_id": [], "hook_event_name": {}}', b"\xff", b"[" * 100_000]
)
def test_garbage(tmp_path: Path, given: bytes) -> None:
    """Whatever comes in, Claude Code hears nothing and goes on."""
    done = run(["hook", "--state-dir", str(tmp_path)], given)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["--state-dir"], ["what", "is", "this"], ["--state-dir", "/proc/no"]]
)
def test_bad_arguments_block_nothing(arguments: list[str]) -> None:
    """An exit code of 2 would forbid Claude Code its tool: not even wrong arguments give one."""
    done = run(["hook", *arguments], event("PreToolUse"))

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_only_times_and_kinds_are_stored(tmp_path: Path) -> None:
    """No text, path or command of any event is written down."""
    for given in [*EVENTS.values(), *RAISES]:
        run(["hook", "--state-dir", str(tmp_path)], given)
        run(["hook", "--state-dir", str(tmp_path)], event("PermissionRequest"))
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

        assert b"permission" in written
        assert not [word for word in (b"/home/dev", b"Slow", b"Write", b"Bash") if word in written]


def test_marks_that_hooks_run(tmp_path: Path) -> None:
    """That hooks run at all is marked, so that `nobody waits` is known and not guessed."""
    note(event("Stop"), str(tmp_path / "new"), 0)

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["hooks"]


def test_tool_calls_are_not_asked_about_before_they_run() -> None:
    """PreToolUse says nothing of waiting, and the client waits for every hook of a tool call."""
    assert "PreToolUse" not in ASKED_FOR
    assert {"PermissionRequest", "PostToolUse", "PostToolUseFailure", "PermissionDenied", "PostToolBatch"} < set(
        ASKED_FOR
    )
