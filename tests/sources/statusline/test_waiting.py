"""Dialogs and lamp: recorded time lines of the real client, each rule by itself, and what holds in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.timelines import EPOCH, PATHS, PATIENCE, Sums, replay

from claude_gauge.hooks.hook import DIALOGS
from claude_gauge.sources.statusline import waiting
from claude_gauge.sources.statusline.waiting import (
    ANYONE,
    DENIAL,
    LATE_S,
    MAIN,
    STATUSLINE,
    ClientEvent,
    Patience,
    Session,
    Story,
    due,
    open_questions,
    step,
)

AT = EPOCH
ASK = ClientEvent(AT, "PermissionRequest", question="q")
NOTIFIED = ClientEvent(AT + 6, "Notification", kind="permission_prompt")
REAL_LAG_S = 0.6  # between a key and the screen that was recorded; the hook that follows may be noted before


def after(*events: ClientEvent) -> Session:
    """Return what is known after events."""
    story = Story()
    story.add(events)
    return story.session


def waits(session: Session, after_s: float) -> bool:
    """Return whether a person is waited for, so many seconds after the first request."""
    return bool(open_questions(session, AT + after_s, PATIENCE))


def test_recorded_time_lines(record_property: Callable[[str, object], None]) -> None:
    """In all recordings there is hardly a dialog without the lamp, and the lamp goes out with the answer."""
    total = Sums()
    for path in PATHS:
        total.add(replay(path))
    record_property("figure", f"waiting, {len(PATHS)} time lines: {total}")

    assert len(PATHS) >= 32
    assert total.dark < 1
    assert total.lit < 65
    assert len(total.dialogs) >= 25
    assert sum(total.dialogs) + total.early == pytest.approx(total.dark + total.lit - total.idle)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_dialog_without_the_lamp(path: Path) -> None:
    """In each time line the lamp is lit while a dialog is on the screen."""
    assert replay(path).dark < REAL_LAG_S


CALL_ENDS = ["PostToolUse", "PostToolUseFailure", "PermissionDenied"]


@pytest.mark.parametrize("name", CALL_ENDS)
def test_the_call_itself_ends(name: str) -> None:
    """The end of the very call ends its question; another call's, also of the same tool and agent, does not."""
    assert not waits(after(ASK, ClientEvent(AT + 1, name, question="q")), 1)
    assert waits(after(ASK, ClientEvent(AT + 1, name, question="other")), 1)
    assert waits(after(ASK, ClientEvent(AT + 1, name, agent="a1", question="q")), 1)


@pytest.mark.parametrize("name", CALL_ENDS)
def test_two_calls_alike(name: str) -> None:
    """Of two questions for the same call, one end ends one."""
    both = (ASK, ClientEvent(AT + 0.01, "PermissionRequest", question="q"))

    assert waits(after(*both, ClientEvent(AT + 1, name, question="q")), 2)
    assert not waits(after(*both, ClientEvent(AT + 1, name, question="q"), ClientEvent(AT + 2, name, question="q")), 2)


AGENTS = ["PostToolBatch", "Stop", "SubagentStop"]


@pytest.mark.parametrize("name", AGENTS)
def test_the_agents_turn_ends(name: str) -> None:
    """The end of an agent's batch or turn ends all its questions, and nobody else's."""
    asked = [ClientEvent(AT, "PermissionRequest", agent=agent, question="q") for agent in (MAIN, "a1", "a2")]
    questions = after(*asked, ClientEvent(AT + 1, name, agent="a1")).questions

    assert [question.agent for question in questions] == [MAIN, "a2"]


def test_prompt_ends_the_main_agents_questions() -> None:
    """A person's prompt ends the main agent's questions, the client's own prompt none, neither of them an agent's."""
    asked = [ClientEvent(AT, "PermissionRequest", agent=agent) for agent in (MAIN, "a1")]

    assert [q.agent for q in after(*asked, ClientEvent(AT + 1, "UserPromptSubmit")).questions] == ["a1"]
    assert len(after(*asked, ClientEvent(AT + 1, "UserPromptSubmit", client=True)).questions) == 2


@pytest.mark.parametrize("name", ["SessionEnd", "SessionStart"])
def test_session_ends_or_starts_anew(name: str) -> None:
    """With the session's end, or its start in a new process after a crash, all questions are over."""
    asked = [ClientEvent(AT, "PermissionRequest", agent=agent) for agent in (MAIN, "a1")]

    assert not waits(after(*asked, NOTIFIED, ClientEvent(AT + 7, name)), 7)


@pytest.mark.parametrize("name", ["PreToolUse", "SubagentStart", "MessageDisplay", "not known yet"])
def test_other_events_end_nothing(name: str) -> None:
    """Events that say nothing of waiting change nothing, also the same call's PreToolUse that comes late."""
    assert waits(after(ASK, ClientEvent(AT + 1, name, question="q")), 1)


def test_statusline_long_after_the_request() -> None:
    """The statusline pauses while a dialog is open: one that runs later says that it was closed."""
    assert not waits(after(ASK, ClientEvent(AT + 2.1, STATUSLINE)), 2.1)
    assert not waits(after(ASK, NOTIFIED, ClientEvent(AT + 9, STATUSLINE)), 9)


def test_statusline_just_after_the_request() -> None:
    """A statusline within 2 s may have been on its way: only the missing notification says that it was answered."""
    quick = (ASK, ClientEvent(AT + 0.8, STATUSLINE))

    assert waits(after(*quick), 6.9)
    assert not waits(after(*quick), 7)
    assert due(after(*quick), AT + 1, PATIENCE) == AT + 7
    assert waits(after(*quick, NOTIFIED), 20)
    assert not waits(after(*quick, NOTIFIED, ClientEvent(AT + 20, STATUSLINE)), 20)


def test_key_in_the_dialog_puts_the_notification_off() -> None:
    """An arrow key makes the client notify at 12 s: awaited where no answer can have come before the statusline."""
    moved = (ASK, ClientEvent(AT + 0.3, STATUSLINE))
    late = ClientEvent(AT + 12.0, "Notification", kind="permission_prompt")

    assert all(waits(after(*moved), at) for at in (1, 7, 12.9))
    assert waits(after(*moved, late), 30)
    assert not waits(after(*moved), 13)
    assert due(after(*moved), AT + 1, PATIENCE) == AT + 13


def test_notification_that_comes_late() -> None:
    """On a busy machine the notification may come after 7 s: it lights the lamp again, for the question it is about."""
    late = ClientEvent(AT + 8, "Notification", kind="permission_prompt")
    session = after(ASK, ClientEvent(AT + 0.8, STATUSLINE), late)

    assert waits(session, 8)
    assert not waits(step(session, ClientEvent(AT + 9, "PostToolUse", question="q")), 9)


@pytest.mark.parametrize("kind", ["user-rejected", "interrupted", "cancelled"])
def test_denied_in_the_transcript(kind: str) -> None:
    """Refusal and Escape end the question at once, of that agent and not of another."""
    denied = ClientEvent(AT + 0.3, DENIAL, kind=kind)

    assert not waits(after(ASK, denied), 0.3)
    assert waits(after(ClientEvent(AT, "PermissionRequest", agent="a1"), denied), 0.3)
    assert waits(after(denied, ClientEvent(AT + 1, "PermissionRequest")), 1)


def test_one_of_two_rejected() -> None:
    """A "No" to one call leaves the other's question open; an aborted turn leaves none."""
    both = (ASK, ClientEvent(AT, "PermissionRequest", question="r"))

    assert waits(after(*both, ClientEvent(AT + 1, DENIAL, kind="user-rejected")), 1)
    assert not waits(after(*both, ClientEvent(AT + 1, DENIAL, kind="interrupted")), 1)


@pytest.mark.parametrize("kind", [*DIALOGS, "agent_needs_input"])
def test_notification_without_a_request(kind: str) -> None:
    """A notification that no request explains begins a wait; the session's work elsewhere does not end it."""
    before = (ClientEvent(AT - 60, "PermissionRequest"), ClientEvent(AT - 50, "PostToolBatch"))
    notified = (*before, ClientEvent(AT, "Notification", kind=kind))

    assert waits(after(*notified), 60)
    assert waits(
        after(*notified, ClientEvent(AT + 1, "PostToolUse", question="q"), ClientEvent(AT + 2, "SubagentStop", "a1")), 2
    )
    for end in ("UserPromptSubmit", "Stop", "SessionEnd", STATUSLINE):
        assert not waits(after(*notified, ClientEvent(AT + 3, end)), 3)
    assert waits(after(*notified, ClientEvent(AT + 3, "Stop", background=True)), 3)


@pytest.mark.parametrize("name", ["PostToolUse", "PostToolUseFailure", "PostToolBatch"])
def test_client_without_requests(name: str) -> None:
    """An older client fires no request, only the notification: there the main agent's next tool ends the wait."""
    notified = ClientEvent(AT, "Notification", kind="permission_prompt")

    assert not waits(after(notified, ClientEvent(AT + 1, name, question="q")), 1)
    assert waits(after(notified, ClientEvent(AT + 1, name, agent="a1", question="q")), 1)


def test_notification_repeats_what_is_known() -> None:
    """The notification of a question is no question of its own: it ends with its call."""
    assert not waits(after(ASK, NOTIFIED, ClientEvent(AT + 9, "PostToolUse", question="q")), 9)


@pytest.mark.parametrize("kind", ["auth_success", "agent_completed", "push_notification", "None", ""])
def test_notification_of_something_else(kind: str) -> None:
    """A notification that asks nothing of the person, also one that is not known yet, is no wait."""
    assert not waits(after(ClientEvent(AT, "Notification", kind=kind)), 0)


def test_mcp_servers_question() -> None:
    """A question of an MCP server begins with its event and ends with its result; no agent's work ends it."""
    asked = ClientEvent(AT, "Elicitation", question="server")

    assert waits(after(asked, ClientEvent(AT + 1, "PostToolBatch"), ClientEvent(AT + 1, "Stop", background=True)), 1)
    assert not waits(after(asked, ClientEvent(AT + 1, "ElicitationResult", question="server")), 1)
    assert waits(after(asked, ClientEvent(AT + 1, "ElicitationResult", question="another")), 1)


def test_outside_a_terminal() -> None:
    """A headless run is denied by itself; where a host asks its person the notification says so."""
    asked = ClientEvent(AT, "PermissionRequest", question="q", outside=True)

    assert not waits(after(asked), 0)
    assert not waits(after(asked), 30)
    assert waits(after(asked, NOTIFIED), 6)
    assert not waits(after(asked, NOTIFIED, ClientEvent(AT + 9, "PostToolUse", question="q")), 9)
    assert waits(after(asked, replace(NOTIFIED, at=AT + 0.1), ClientEvent(AT + 1, STATUSLINE)), 8)


def test_idle_prompt() -> None:
    """Claude waits for a prompt until it goes on; its statusline runs meanwhile, and its agents' ends say nothing."""
    idle = ClientEvent(AT, "Notification", kind="idle_prompt")
    quiet = (
        ClientEvent(AT + 1, STATUSLINE),
        ClientEvent(AT + 2, "SubagentStop", "a1"),
        ClientEvent(AT + 3, "PostToolUse", "a1"),
    )

    assert waits(after(idle, *quiet), 3)
    for end in ("UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd", "PermissionRequest"):
        assert not [q for q in after(idle, ClientEvent(AT + 4, end)).questions if q.idle]
    assert not waits(after(idle, ClientEvent(AT + 4, "UserPromptSubmit", client=True)), 4)


def test_idle_prompt_beside_background_tasks() -> None:
    """While the last Stop named tasks that run on, an idle prompt is no wait."""
    idle = ClientEvent(AT, "Notification", kind="idle_prompt")
    stopped = ClientEvent(AT - 60, "Stop", background=True)

    assert not waits(after(stopped, idle), 0)
    assert waits(after(stopped, ClientEvent(AT - 30, "Stop"), idle), 0)
    assert not waits(after(stopped, ClientEvent(AT - 30, "Stop", "a1"), idle), 0)


def test_nothing_reported_any_more() -> None:
    """After a kill -9 nothing ends the wait; it is dropped after the set time, and `due` says when."""
    session = after(ASK, NOTIFIED)

    assert waits(session, 6 + PATIENCE.waiting_s - 0.1)
    assert not waits(session, 6 + PATIENCE.waiting_s)
    assert due(session, AT + 7, PATIENCE) == AT + 6 + PATIENCE.waiting_s
    assert due(session, AT + 6 + PATIENCE.waiting_s, PATIENCE) is None


def test_client_that_is_watched() -> None:
    """A question lasts as long as its client is known to run, an idle prompt does not; a set time holds in any case."""
    asked = after(ClientEvent(AT, "PermissionRequest", process=(7, 8, "pid:[9]")))

    assert waits(asked, 86400)
    assert due(asked, AT, PATIENCE) is None
    assert not open_questions(asked, AT + 100, Patience(100, 100))
    assert not waits(after(ClientEvent(AT, "Notification", kind="idle_prompt", process=(7, 8, "pid:[9]"))), 86400)


def test_from_the_future() -> None:
    """A clock that was set back does not leave the lamp on for days."""
    assert not waits(after(ASK), -86400)


NAMES = [*CALL_ENDS, *AGENTS, "PermissionRequest", "Elicitation", "ElicitationResult", "UserPromptSubmit", "SessionEnd"]
EVENTS = st.builds(
    ClientEvent,
    at=st.floats(AT, AT + LATE_S / 2),
    name=st.sampled_from([*NAMES, "Notification", STATUSLINE, DENIAL]),
    agent=st.sampled_from([MAIN, "a1", "a2"]),
    question=st.sampled_from(["q", "r"]),
    kind=st.sampled_from(["permission_prompt", "idle_prompt", "agent_needs_input", "user-rejected", "interrupted"]),
    client=st.booleans(),
    background=st.booleans(),
    outside=st.booleans(),
)
TALE = st.lists(EVENTS, max_size=25, unique_by=lambda event: event.at)


@given(TALE, st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_interleaving(tale: list[ClientEvent], chance: random.Random, parts: int) -> None:
    """In whatever order and portions hooks that overtake one another are read, the outcome is that of their times."""
    shuffled = list(tale)
    chance.shuffle(shuffled)
    story = Story()
    for part in range(parts):
        story.add(shuffled[part::parts])

    assert story.session == after(*sorted(tale, key=lambda event: event.at))


@given(TALE)
def test_a_request_always_shows(tale: list[ClientEvent]) -> None:
    """Whatever happened before, a request in a terminal lights the lamp."""
    assert waits(after(*tale, ClientEvent(AT + LATE_S, "PermissionRequest", question="new")), LATE_S)


@given(TALE, st.sampled_from([MAIN, "a1"]), st.sampled_from(["q", "r"]), TALE)
def test_no_other_agent_ends_a_question(
    tale: list[ClientEvent], agent: str, question: str, then: list[ClientEvent]
) -> None:
    """A notified question stays open through all that other agents and other sessions do."""
    asked = after(
        *[event for event in tale if event.name != STATUSLINE],
        ClientEvent(AT + 20, "PermissionRequest", agent, question),
        ClientEvent(AT + 26, "Notification", kind="permission_prompt"),
    )
    said = {"Notification", "PermissionRequest", "SessionEnd", "Elicitation", STATUSLINE}
    others = [event for event in then if event.agent != agent and event.name not in said]

    assert waits(after_all(asked, others, AT + 27), 40)


def after_all(session: Session, events: Iterable[ClientEvent], since: float) -> Session:
    """Go on with events, moved to a later time."""
    for event in sorted(events, key=lambda event: event.at):
        moved = ClientEvent(
            since + event.at - AT,
            event.name,
            event.agent,
            event.question,
            event.kind,
            client=event.client,
            background=event.background,
        )
        session = step(session, moved)
    return session


@given(TALE)
def test_nothing_waits_for_ever(tale: list[ClientEvent]) -> None:
    """Whatever fails to be reported, every wait is dropped in the end, and `due` says when the lamp changes next."""
    session, now = after(*tale), AT + LATE_S
    for _ in range(100):
        later = due(session, now, PATIENCE)
        if later is None:
            break
        assert later > now
        assert waits(session, (now + later) / 2 - AT) == waits(session, now - AT)
        now = later

    assert not waits(session, LATE_S + PATIENCE.waiting_s)


@given(TALE)
def test_a_session_that_ended_waits_for_nobody(tale: list[ClientEvent]) -> None:
    """After a session's end nothing is open, whoever asked."""
    assert after(*tale, ClientEvent(AT + LATE_S, "SessionEnd")).questions == ()


def test_unknown_agent() -> None:
    """A question that a notification alone reported is of no agent in particular."""
    assert [q.agent for q in after(ClientEvent(AT, "Notification", kind="permission_prompt")).questions] == [ANYONE]


def test_queued_dialog_has_its_own_time() -> None:
    """A second question is shown when the first is answered: no statusline before that says that it is over."""
    story = waiting.Story()
    story.add([waiting.ClientEvent(100.0 + n / 100, "PermissionRequest", question=name) for n, name in enumerate("ab")])
    story.add_statusline(100.3)  # on its way when the first dialog opened
    story.add([waiting.ClientEvent(103.4, "PostToolUse", question="a")])
    patience = waiting.Patience(600.0)
    lit = [bool(waiting.open_questions(story.session, at, patience)) for at in (103.5, 107.5, 110.3, 110.5)]
    story.add([waiting.ClientEvent(109.7, "Notification", kind="permission_prompt")])

    assert lit == [True, True, True, True]
    assert waiting.open_questions(story.session, 120.0, patience)
