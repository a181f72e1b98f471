"""Whether Claude Code waits for the person: which dialogs are open, by hooks, statusline and transcript.

No event says that a dialog opened or closed; it follows from these, all as the client was seen to behave (2.1.332):

    a dialog opens      PermissionRequest or Elicitation fires at once. About 6 s later, if it is still open, a
                        Notification follows, which does not say whose it is. A key pressed in the dialog, such as
                        an arrow, puts it off to the 12th second, another one to the 18th.
    it is answered      yes: the tool's PostToolUse, PostToolUseFailure or PermissionDenied, when the tool has run;
                        after the last call of the agent's turn a PostToolBatch. No, or Escape: no hook at all, but a
                        line with `toolDenialKind` in the transcript, at once.
    the statusline      is not run while a dialog is open, and is run when the last one closes. One that was on its way
                        may still come up to 2 s after the request.
    a turn ends         Stop or SubagentStop. A person can't submit a prompt while a dialog is open; the client itself
                        can, when a background agent ends.
    not in a terminal   `claude -p` denies by itself what an SDK's host or an editor asks its person. The Notification
                        distinguishes the two.

So each question is kept by itself, identified by its agent and a fingerprint of its tool and input:

    asked in a terminal ──► open ──(the end of its call, agent or session; a denial)──► gone
                             │ ▲
         a statusline after  │ │  a Notification while it may be its own
         2 s, or before and  │ │
         7 or 13 s of        │ │
         silence             ▼ │
    asked elsewhere ──► unconfirmed ──(the same ends)──► gone

A client that is killed reports nothing. Where its process is known, the question lasts as long as that runs.

A Notification that no question explains is a question of an unknown agent (`ANYONE`). An idle prompt is one, too,
which only work that goes on ends. Everything here is a function of events and time, with no disk and no clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import attrgetter

from claude_gauge.hooks.hook import DIALOGS
from claude_gauge.hooks.statusline import number

STATUSLINE, DENIAL = "statusline", "denial"  # events of ours, beside those of the hooks
MAIN, ANYONE = "main", "anyone"
ON_ITS_WAY_S = 2.0  # how long after a request a statusline may come that was started before it
NOTIFIED_BY_S = 7.0  # a question that is open so long was followed by a Notification
PUT_OFF_BY_S = 13.0  # also where a key was pressed in its dialog
QUICKEST_S = 0.4  # sooner nobody answers: a statusline till then, usually 0.3 s after the request, was on its way
NOTIFIED_TO_S = 15.0  # how old a question may be that a Notification is about
LATE_S = 10.0  # how much later than its time an event may be read
CLOCK_SLACK_S = 60.0

_ONE_CALL = frozenset({"PostToolUse", "PostToolUseFailure", "PermissionDenied", "ElicitationResult"})
_at = attrgetter("at")


Process = tuple[int, int, str]  # pid, start, namespace: see `spool.process`


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """What a hook, the statusline or the transcript reported at one time (epoch seconds).

    `question` is a fingerprint, `kind` a notification's or a denial's type. `client` marks a prompt that no person
    submitted, `background` a Stop with tasks that run on, `outside` a session that is not in a terminal. `process` is
    the client that asks, where that is known for certain.
    """

    at: float
    name: str
    agent: str = MAIN
    question: str = ""
    kind: str = ""
    client: bool = False
    background: bool = False
    outside: bool = False
    process: Process | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Something that Claude Code asked at `at`, and may still wait for.

    `loose`: reported by a Notification of a client that fires no PermissionRequest; any end of a tool may be its end.
    """

    at: float
    agent: str
    fingerprint: str = ""
    idle: bool = False
    loose: bool = False
    outside: bool = False
    notified_at: float | None = None
    process: Process | None = None
    queued_to: float = 0.0  # when another dialog before it was answered

    @property
    def shown_at(self) -> float:
        """When its dialog came to the screen."""
        return max(self.at, self.queued_to)

    @property
    def since(self) -> float:
        """When it was last known to be open."""
        return self.at if self.notified_at is None else self.notified_at


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of one session.

    Its questions that did not end, its newest statusline, whether tasks run in the background, and whether its client
    fires PermissionRequest at all.
    """

    questions: tuple[Question, ...] = ()
    statusline_at: float = 0.0
    background: bool = False
    requests: bool = False

    @property
    def processes(self) -> set[Process]:
        """The clients that ask, where they are known."""
        return {each.process for each in self.questions if each.process is not None}


def read_event(record: Mapping[str, object]) -> ClientEvent | None:
    """Make an event of a hook's record; None for garbage."""
    at, name = number(record.get("at")), record.get("event")
    if at is None or not isinstance(name, str):
        return None
    words = {key: value for key in ("agent", "question", "kind") if isinstance(value := record.get(key), str)}
    flags = {key: record.get(key) is True for key in ("client", "background", "outside")}
    return ClientEvent(at, name, **words, **flags, process=_process(record.get("process")))  # type: ignore[arg-type]


def _process(raw: object) -> Process | None:
    match raw:
        case [int() as pid, int() as start, str() as namespace]:
            return pid, start, namespace
    return None


def step(session: Session, event: ClientEvent) -> Session:
    """Take in the next event."""
    match event.name:
        case "PermissionRequest" | "Elicitation":
            agent = ANYONE if event.name == "Elicitation" else event.agent  # an Elicitation does not say whose it is
            asked = Question(event.at, agent, event.question, outside=event.outside, process=event.process)
            requests = session.requests or event.name == "PermissionRequest"
            return replace(session, questions=(*_without_idle(session), asked), requests=requests)
        case "Notification":
            return replace(session, questions=_notified(session, event))
        case _ if event.name == STATUSLINE:
            return replace(session, statusline_at=max(session.statusline_at, event.at))
        case _:
            turns = event.name in {"Stop", "SessionStart", "SessionEnd"} and event.agent == MAIN
            if not turns and not session.questions:
                return session
            background = event.background if turns else session.background
            return replace(session, questions=_remaining(session, event), background=background)


def _remaining(session: Session, event: ClientEvent) -> tuple[Question, ...]:
    """Return the questions that an event does not end; the end of one call ends one of them only."""
    ended = [each for each in session.questions if each.at <= event.at and _ends(each, event)]
    if event.name in _ONE_CALL or (event.name == DENIAL and event.kind == "user-rejected"):
        idle = [each for each in ended if each.idle]
        calls = [each for each in ended if not each.idle]
        calls.sort(key=lambda each: not _open(each, session.statusline_at, event.at))
        ended = idle + calls[:1]
    left = [each for each in session.questions if not any(each is gone for gone in ended)]
    if len(left) == len(session.questions):
        return session.questions
    return tuple(
        replace(each, queued_to=event.at) if _open(each, session.statusline_at, event.at) else each for each in left
    )


def _ends(question: Question, event: ClientEvent) -> bool:
    whose, nobodys = question.agent == event.agent, question.agent == ANYONE
    if question.idle:
        return event.name not in {DENIAL, "SubagentStop"} and event.agent == MAIN  # the main agent goes on
    loose = question.loose and event.agent == MAIN
    ends = {
        "PostToolUse": loose or (whose and question.fingerprint == event.question),
        "PermissionDenied": whose and question.fingerprint == event.question,
        "ElicitationResult": nobodys and question.fingerprint == event.question,
        "PostToolBatch": whose or loose,
        "SubagentStop": whose,
        "Stop": whose or (nobodys and event.agent == MAIN and not event.background),
        "UserPromptSubmit": (whose or nobodys) and not event.client,
        "SessionStart": True,
        "SessionEnd": True,
        DENIAL: whose or nobodys,
    }
    ends["PostToolUseFailure"] = ends["PostToolUse"]
    return ends.get(event.name, False)


def _notified(session: Session, event: ClientEvent) -> tuple[Question, ...]:
    """Return the questions after a Notification: it confirms those that it may be about, else it is one itself."""
    if event.kind == "idle_prompt":
        asked = () if session.background else (Question(event.at, MAIN, idle=True),)
        return (*_without_idle(session), *asked)
    if event.kind in DIALOGS:
        confirmed = tuple(
            replace(each, notified_at=event.at) if not each.idle and event.at - each.shown_at <= NOTIFIED_TO_S else each
            for each in session.questions
        )
        if confirmed != session.questions:
            return confirmed
    elif event.kind != "agent_needs_input":
        return session.questions
    if any(not each.idle and _open(each, session.statusline_at, event.at) for each in session.questions):
        return session.questions  # it only repeats what is known
    loose = event.kind == "permission_prompt" and not session.requests
    return (*session.questions, Question(event.at, ANYONE, loose=loose, notified_at=event.at))


def _without_idle(session: Session) -> tuple[Question, ...]:
    return tuple(each for each in session.questions if not each.idle)


def _open(question: Question, statusline_at: float, now: float) -> bool:
    """Return whether a question that did not end is open, going by statusline and Notification."""
    if question.idle:
        return True
    if question.notified_at is not None:
        return statusline_at <= max(question.notified_at, question.shown_at + ON_ITS_WAY_S)
    if question.outside or statusline_at > question.shown_at + ON_ITS_WAY_S:
        return False
    return statusline_at <= question.shown_at or now < _silent_to(question, statusline_at)


def _silent_to(question: Question, statusline_at: float) -> float:
    """Return until when a question without a Notification is open, though a statusline came just after it began."""
    quick = question.queued_to > 0 or statusline_at > question.shown_at + QUICKEST_S
    return question.shown_at + (NOTIFIED_BY_S if quick else PUT_OFF_BY_S)


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a question is believed to be open without any sign of it, in seconds.

    `running_s` is for one whose client is watched: where that still runs, it still asks.
    """

    waiting_s: float
    running_s: float = math.inf

    def ends_at(self, question: Question) -> float:
        """Return when a question is dropped."""
        watched = question.process is not None and not question.idle
        return question.since + (self.running_s if watched else self.waiting_s)


def open_questions(session: Session, now: float, patience: Patience) -> list[Question]:
    """List the questions that the person has to answer."""
    return [
        each
        for each in session.questions
        if each.since - CLOCK_SLACK_S <= now < patience.ends_at(each) and _open(each, session.statusline_at, now)
    ]


def due(session: Session, now: float, patience: Patience) -> float | None:
    """Return when the passing of time alone next changes the open questions."""
    times = [
        time
        for each in open_questions(session, now, patience)
        for time in (patience.ends_at(each), _doubted_at(each, session))
    ]
    return min((time for time in times if now < time < math.inf), default=None)


def _doubted_at(question: Question, session: Session) -> float:
    doubtful = not question.idle and question.notified_at is None and session.statusline_at > question.shown_at
    return _silent_to(question, session.statusline_at) if doubtful else 0.0


class Story:
    """A session's events in the order of their times, in whatever order they are read.

    Hooks run side by side and can overtake one another: what is younger than `LATE_S` is kept to be put in order.
    """

    def __init__(self) -> None:
        self._settled = Session()
        self._recent: list[ClientEvent] = []
        self.session = self._settled

    def add(self, events: Iterable[ClientEvent]) -> None:
        """Take in events."""
        for event in events:
            insort(self._recent, event, key=_at)
        late = bisect_left(self._recent, self._recent[-1].at - LATE_S, key=_at) if self._recent else 0
        self._settled = reduce(step, self._recent[:late], self._settled)
        del self._recent[:late]
        self.session = reduce(step, self._recent, self._settled)

    def add_statusline(self, at: float) -> None:
        """Take in when the statusline ran last; the same again changes nothing."""
        if at > self.session.statusline_at:
            self.add([ClientEvent(at, STATUSLINE)])
