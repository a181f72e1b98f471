"""What the folder of small files means: plan windows, and whether Claude waits for the person; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from claude_gauge.counting.reading import Health, Reading
from claude_gauge.hooks.limits import number
from claude_gauge.hooks.spool import HOOKS, STATUS, WAIT
from claude_gauge.sources.statusline import plan_figures as plan_seen

DIALOG_GONE_S = 2.0  # a statusline can be on its way when the question is put
CLOCK_SLACK_S = 60.0

Files = Mapping[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Wait:
    """One agent of a session waits for the person since `at`."""

    session: str
    at: float
    permission: bool


@dataclass(frozen=True, slots=True)
class Known:
    """All that the folder said when it was last looked at."""

    book: plan_seen.Book = field(default_factory=lambda: plan_seen.EMPTY)
    statuses: Mapping[str, float] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    hooks: bool = False
    why: str = ""


def ends_at(wait: Wait, waiting_s: float) -> float:
    """Tell when an unanswered wait is dropped: no hook fires on Escape."""
    return wait.at + waiting_s


def open_waits(known: Known, now: float, waiting_s: float) -> list[Wait]:
    """List the waits that still stand.

    Claude Code's statusline pauses while a permission dialog is open, also one that refreshes by itself (seen with
    2.1.330). So one that ran later says that the dialog is gone: by Escape, or granted to a tool that runs on for
    minutes.
    """
    return [
        wait
        for wait in known.waits
        if now - wait.at >= -CLOCK_SLACK_S and now < ends_at(wait, waiting_s)
        if not (wait.permission and known.statuses.get(wait.session, 0) > wait.at + DIALOG_GONE_S)
    ]


def interpret(known: Known, now: float, waiting_s: float) -> Reading:
    """Say what the folder's content means at `now`."""
    tells = bool(known.why or known.statuses or any(known.book.values()))
    return Reading(
        plan_5h=plan_seen.present(known.book, "five_hour", now),
        plan_7d=plan_seen.present(known.book, "seven_day", now),
        waiting=bool(open_waits(known, now, waiting_s)) if known.hooks else None,
        sources={"plan": Health("statusline", not known.why, known.why, degraded=bool(known.why))} if tells else {},
    )


def understand(files: Files, book: plan_seen.Book) -> Known:
    """Make sense of the files; `book` is what was seen of the plan before."""
    return Known(_entered(book, files), _statuses(files), _waits(files), HOOKS in files)


def _entered(book: plan_seen.Book, files: Files) -> plan_seen.Book:
    statuses = [content for name, content in files.items() if name.endswith(STATUS)]
    for slot in plan_seen.EMPTY:
        book = plan_seen.enter(book, slot, filter(None, (plan_seen.from_status(slot, each) for each in statuses)))
    return book


def _statuses(files: Files) -> dict[str, float]:
    statuses = _timed((name, content) for name, content in files.items() if name.endswith(STATUS))
    return {name.removesuffix(STATUS): at for name, _, at in statuses}


def _waits(files: Files) -> tuple[Wait, ...]:
    waits = _timed((name, content) for name, content in sorted(files.items()) if name.endswith(WAIT))
    return tuple(Wait(name.partition(".")[0], at, content.get("kind") == "permission") for name, content, at in waits)


def _timed(files: Iterable[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object], float]]:
    return [(name, content, at) for name, content in files if (at := number(content.get("at"))) is not None]
