from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.claude_events import EVENTS, GAUGE, event, run

from claude_gauge.hooks import spool
from claude_gauge.hooks.hook import EVENTS as ASKED_FOR
from claude_gauge.hooks.hook import fingerprint, note, record
from claude_gauge.sources.statusline.source import SessionLog

ALL = [
    *EVENTS.values(),
    event("PostToolUse") | {"hook_event_name": "PostToolUseFailure", "error": "secret"},
    event("PostToolUse") | {"hook_event_name": "PermissionDenied", "reason": "secret"},
    event("Stop") | {"hook_event_name": "Elicitation", "mcp_server_name": "secret", "message": "secret"},
    event("Stop") | {"hook_event_name": "ElicitationResult", "mcp_server_name": "secret", "content": {"a": "secret"}},
]


def records(folder: Path, session: str = "s") -> list[dict[str, Any]]:
    """Read what hooks left of a session."""
    lines = (folder / f"{session}.events").read_bytes().splitlines()
    return [json.loads(line) for line in lines if line]


def test_events_are_appended(tmp_path: Path) -> None:
    """Each event is a record of its own behind the others, with its time, agent and fingerprint."""
    note(event("PermissionRequest", "s", agent_id="a1"), str(tmp_path), 1)
    note(event("Notification", "s", notification_type="permission_prompt"), str(tmp_path), 2)
    asked, notified = records(tmp_path)

    assert asked.pop("question") == fingerprint("Write", event("PermissionRequest")["tool_input"])
    assert asked == {"at": 1, "event": "PermissionRequest", "agent": "a1"}
    assert notified == {"at": 2, "event": "Notification", "kind": "permission_prompt"}


def test_end_of_the_session_clears_its_file(tmp_path: Path) -> None:
    """After a session's end only the end itself is kept, so that files do not grow for ever."""
    for at in range(50):
        note(event("PostToolUse", "s"), str(tmp_path), at)
    note(event("SessionEnd", "s"), str(tmp_path), 99)

    assert records(tmp_path) == [{"at": 99, "event": "SessionEnd"}]


@pytest.mark.parametrize("name", sorted(set(EVENTS) - set(ASKED_FOR)))
def test_other_events_say_nothing(tmp_path: Path, name: str) -> None:
    """Events that setup does not ask for, as older entries send them, leave no record."""
    note(event(name, "s"), str(tmp_path / "plan"), 0)

    assert not (tmp_path / "plan").exists()


def test_same_call_same_fingerprint() -> None:
    """A request and the end of its call have one fingerprint, whatever the order of the input's keys."""
    given = {"command": "ls", "description": "List"}

    assert fingerprint("Bash", given) == fingerprint("Bash", dict(reversed(given.items())))
    assert fingerprint("Bash", given) != fingerprint("Bash", {**given, "command": "ls -l"})
    assert fingerprint("Bash", given) != fingerprint("Write", given)
    assert fingerprint("Bash", None) != fingerprint("Bash", {})


NESTED = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(NESTED, NESTED)
def test_any_input_has_a_fingerprint(name: object, given_input: object) -> None:
    """Whatever a tool is given, also lone surrogates, the fingerprint is eight characters that hold nothing of it."""
    assert len(fingerprint(name, given_input)) == 8


@pytest.mark.parametrize(
    ("changes", "by_the_client"),
    [
        ({"prompt": "please"}, False),
        ({"prompt": "<task-notification>\n<task-id>b1"}, True),
        ({"prompt": '\n\n<pasted_content id="c3">\n<task-notification'}, False),
        ({"prompt": "please", "source": "user"}, False),
        ({"prompt": "please", "source": "sdk"}, False),
        ({"prompt": "go on", "source": "schedule_wakeup"}, True),
        ({"prompt": "<task-notification> is what I ask about", "source": "user"}, False),
        ({"prompt": None}, False),
    ],
)
def test_prompts_of_the_client(changes: dict[str, Any], *, by_the_client: bool) -> None:
    """A prompt that the client submits by itself is distinguished from a person's."""
    assert record(event("UserPromptSubmit", **changes), 0, None).get("client", False) is by_the_client


@pytest.mark.parametrize(
    ("tasks", "background"),
    [([], False), ([{"status": "running"}], True), ([{"status": "completed"}], False), (None, False), ([3], True)],
)
def test_tasks_in_the_background(tasks: object, *, background: bool) -> None:
    """A Stop is noted with whether tasks run on."""
    assert record(event("Stop", background_tasks=tasks), 0, None).get("background", False) is background


@pytest.mark.parametrize(("entrypoint", "outside"), [(None, False), ("", False), ("cli", False), ("sdk-cli", True)])
def test_sessions_outside_a_terminal(entrypoint: str | None, *, outside: bool) -> None:
    """What is not in a terminal is noted: nobody may be there to answer."""
    assert record(event("PermissionRequest"), 0, entrypoint).get("outside", False) is outside


def test_hooks_at_the_same_instant(tmp_path: Path) -> None:
    """Of hooks that run side by side, each with its own word, none loses another's."""
    running = [
        subprocess.Popen([*GAUGE, "hook", "--state-dir", str(tmp_path)], stdin=subprocess.PIPE) for _ in range(24)
    ]
    for number, process in enumerate(running):  # all are started and wait for their input
        assert process.stdin is not None
        name = ("PermissionRequest", "PostToolUse")[number % 2]
        process.stdin.write(json.dumps(event(name, "s", agent_id=f"a{number}")).encode())
    for process in running:
        process.communicate()

    assert sorted(each["agent"] for each in records(tmp_path / "plan")) == sorted(f"a{n}" for n in range(24))


def test_record_cut_off_by_a_full_disk(tmp_path: Path) -> None:
    """Half a record, as a full disk leaves it, spoils no other."""
    note(event("PermissionRequest", "s"), str(tmp_path), 1)
    with (tmp_path / "s.events").open("ab") as file:
        file.write(b'\n{"at": 2, "event": "Stop", "que')
    note(event("PostToolUse", "s", agent_id="another"), str(tmp_path), 3)
    events, _ = SessionLog().read(str(tmp_path / "s.events"))

    assert [(each.at, each.name) for each in events] == [(1, "PermissionRequest"), (3, "PostToolUse")]


@pytest.mark.parametrize(
    "given", [b"", b"{", b"[]", b"null", b"{}", b'{"session_id": [], "hook_event_name": {}}', b"\xff", b"[" * 100_000]
)
def test_garbage(tmp_path: Path, given: bytes) -> None:
    """Whatever comes in, Claude Code gets no output and goes on."""
    done = run(["hook", "--state-dir", str(tmp_path)], given)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["--state-dir"], ["what", "is", "this"], ["--state-dir", "/proc/no"]]
)
def test_bad_arguments_block_nothing(arguments: list[str]) -> None:
    """An exit code of 2 would forbid Claude Code its tool: not even wrong arguments give one."""
    done = run(["hook", *arguments], event("PostToolUse"))

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_large_input(tmp_path: Path) -> None:
    """A tool's result of 50 MB is read like any other: in a time that grows with its size alone."""
    given_event = event("PostToolUse", "s", tool_response={"stdout": "x" * 50_000_000})
    run(["hook", "--state-dir", str(tmp_path)], given_event)

    assert [each["event"] for each in records(tmp_path / "plan")] == ["PostToolUse"]


def test_no_texts_are_stored(tmp_path: Path) -> None:
    """No text, path or command of any event is written down."""
    for given_event in ALL:
        note(given_event, str(tmp_path), time.time())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert b"SessionEnd" in written or b"Stop" in written
    assert not [word for word in (b"/home/dev", b"Slow", b"Write", b"Bash", b"secret", b"opus") if word in written]


def test_marks_that_hooks_run(tmp_path: Path) -> None:
    """That hooks run at all is marked, so that `nobody waits` is known and not guessed."""
    note(event("Stop", "s"), str(tmp_path / "new"), 0)

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["hooks", "s.events"]


def test_folder_is_the_persons_own(tmp_path: Path) -> None:
    """Nobody else may read what is noted."""
    note(event("Stop", "s"), str(tmp_path / "new"), 0)

    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "new", *(tmp_path / "new").iterdir())] == [0, 0, 0]


def test_tool_calls_are_not_asked_about_before_they_run() -> None:
    """PreToolUse says nothing of waiting, and the client waits for every hook of a tool call."""
    ends = {"PermissionRequest", "PostToolUse", "PostToolUseFailure", "PermissionDenied", "PostToolBatch"}

    assert "PreToolUse" not in ASKED_FOR
    assert ends < set(ASKED_FOR)


def test_append_makes_the_folder(tmp_path: Path) -> None:
    """The first hook of all finds no folder yet."""
    spool.append(str(tmp_path / "a" / "b"), "c", {"x": 1})

    assert json.loads((tmp_path / "a" / "b" / "c").read_text()) == {"x": 1}


def test_pipe_in_the_place_of_the_events(tmp_path: Path) -> None:
    """A pipe that nobody reads does not hold Claude Code up."""
    os.mkfifo(tmp_path / "s.events")
    with pytest.raises(OSError, match=r"s\.events"):
        spool.append(str(tmp_path), "s.events", {})

    assert spool.load(str(tmp_path / "s.events")) == {}
