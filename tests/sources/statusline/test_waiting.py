"""Any order of events, in two sessions with a subagent each: what must hold whatever happens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.support.claude_events import event

from claude_gauge.hooks import spool
from claude_gauge.hooks.hook import note
from claude_gauge.sources.statusline.interpret import open_waits as open_waits_of
from claude_gauge.sources.statusline.interpret import understand
from claude_gauge.sources.statusline.plan_figures import EMPTY

NOON = 1_795_435_200.0
WAITING_S = 600.0
NAMES = ["PermissionRequest", "UserPromptSubmit", "PreToolUse", "PostToolUse", "SubagentStop", "Stop", "SessionEnd"]
TASKS = [{"id": "agent", "type": "subagent", "status": "running"}]
EVENTS = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(NAMES), "agent_id": st.sampled_from([None, "agent"])}),
    st.fixed_dictionaries({"name": st.just("Stop"), "background_tasks": st.sampled_from([[], TASKS])}),
    st.fixed_dictionaries(
        {
            "name": st.just("Notification"),
            "notification_type": st.sampled_from(["permission_prompt", "idle_prompt", "auth_success"]),
        }
    ),
)
STORY = st.lists(st.tuples(st.sampled_from(["one", "two"]), EVENTS), max_size=15)


class Folder:
    """The folder that hooks write to, with a clock that goes on by a second per event."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.now = NOON

    def tell(self, session: str, name: str, **changes: object) -> None:
        """Let a hook run."""
        self.now += 1
        note(event(name, session, **changes), self.path, self.now)

    def waits(self, now: float | None = None) -> list[str]:
        """Name the sessions that wait."""
        files = {path.name: spool.load(str(path)) for path in Path(self.path).iterdir()}
        return [wait.session for wait in open_waits_of(understand(files, EMPTY), now or self.now, WAITING_S)]


@contextmanager
def told(story: list[tuple[str, dict[str, object]]]) -> Iterator[Folder]:
    """Give a folder in which this story was told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name))
        for session, given_event in story:
            folder.tell(session, **given_event)  # type: ignore[arg-type]
        yield folder


@given(STORY, st.sampled_from(["UserPromptSubmit", "Stop", "SessionEnd"]))
def test_an_end_is_an_end(story: list[tuple[str, dict[str, object]]], ending: str) -> None:
    """After a prompt, a stop without background tasks or its end a session waits no more; the other is untouched."""
    with told(story) as folder:
        before = folder.waits()
        folder.tell("one", ending)

        assert folder.waits() == [session for session in before if session == "two"]


@given(STORY)
def test_a_request_always_shows(story: list[tuple[str, dict[str, object]]]) -> None:
    """Whatever happened before, a permission request lights the lamp."""
    with told(story) as folder:
        folder.tell("one", "PermissionRequest")

        assert "one" in folder.waits()


@given(STORY)
def test_nothing_waits_for_ever(story: list[tuple[str, dict[str, object]]]) -> None:
    """Whatever hooks fail to fire, every wait is dropped in the end."""
    with told(story) as folder:
        assert folder.waits(folder.now + WAITING_S) == []


@given(STORY, EVENTS)
def test_one_session_says_nothing_of_the_other(
    story: list[tuple[str, dict[str, object]]], given_event: dict[str, object]
) -> None:
    """No event of one session begins or ends a wait of another."""
    with told(story) as folder:
        before = [session for session in folder.waits() if session == "two"]
        folder.tell("one", **given_event)  # type: ignore[arg-type]

        assert [session for session in folder.waits() if session == "two"] == before
