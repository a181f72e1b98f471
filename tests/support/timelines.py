"""Recorded time lines of the real Claude Code: what hooks and statusline got, beside the dialogs on its screen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT

from claude_gauge.hooks.hook import EVENTS, record
from claude_gauge.sources.statusline.waiting import (
    STATUSLINE,
    ClientEvent,
    Patience,
    Story,
    due,
    open_questions,
    read_event,
)

FOLDER = ROOT / "tests" / "samples" / "waiting"
PATHS = sorted(FOLDER.glob("*.ndjson"))
EPOCH = 1_795_435_200.0
PATIENCE = Patience(600.0)
RIGHT_S = 1.0  # a lamp that differs for less than this from the screen is hardly seen to be wrong


@dataclass
class Sums:
    """Seconds with a dialog and no lamp (dark), with a lamp and no dialog (lit), and those of idle prompts among these.

    `dialogs` has the wrong seconds of each dialog, without those of idle prompts: no lamp while it stood on the screen,
    a lamp that burned on after it, and one that was lit before the client had drawn it (some tenths of a second).
    """

    dark: float = 0.0
    idle: float = 0.0
    lit: float = 0.0
    dialogs: list[float] = field(default_factory=list)
    early: float = 0.0  # seconds of a lamp whose dialog is not on the screen yet
    _burns_on: bool = False  # the lamp has been lit since a dialog went

    def opened(self) -> None:
        """Begin a dialog; a lamp that was lit for none until now was lit for this one."""
        self.dialogs.append(self.early)
        self.early, self._burns_on = 0.0, True

    def count(self, span: float, questions: Sequence[bool], *, dialog: bool) -> None:
        """Count seconds in which neither lamp nor screen changed; `questions`: each by whether it is an idle prompt."""
        dark, lit = span * (dialog and not questions), span * (bool(questions) and not dialog)
        idle = lit * all(questions)
        self.dark, self.lit, self.idle = self.dark + dark, self.lit + lit, self.idle + idle
        self._burns_on = dialog or (self._burns_on and bool(questions))
        if self._burns_on:
            self.dialogs[-1] += dark + lit - idle
        else:
            self.early += lit - idle

    def __str__(self) -> str:
        total = f"dialog, no lamp {self.dark:.2f} s; lamp, no dialog {self.lit:.2f} s (idle prompts {self.idle:.2f} s)"
        mean, worst = sum(self.dialogs) / max(1, len(self.dialogs)), max(self.dialogs, default=0.0)
        right = sum(wrong < RIGHT_S for wrong in self.dialogs)
        return (
            f"{total}; of {len(self.dialogs)} dialogs {right} wrong for less than {RIGHT_S:.0f} s, "
            f"{mean:.2f} s in the mean, {worst:.2f} s in the worst"
        )

    def add(self, other: Sums) -> None:
        """Add another time line's."""
        self.dark, self.lit, self.idle = self.dark + other.dark, self.lit + other.lit, self.idle + other.idle
        self.dialogs, self.early = self.dialogs + other.dialogs, self.early + other.early


class Lamp:
    """The stories of all sessions, as a publisher would know them."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}

    def tell(self, session: str, event: ClientEvent) -> None:
        """Take in an event."""
        self.stories.setdefault(session, Story()).add([event])

    def questions(self, now: float) -> list[bool]:
        """List the open questions, each by whether it is an idle prompt."""
        sessions = [story.session for story in self.stories.values()]
        return [each.idle for session in sessions for each in open_questions(session, now, PATIENCE)]

    def due(self, now: float) -> float | None:
        """Return when the lamp may change by itself."""
        times = [due(story.session, now, PATIENCE) for story in self.stories.values()]
        return min((time for time in times if time is not None), default=None)


def reported(line: dict[str, Any]) -> Iterator[tuple[str, ClientEvent]]:
    """Yield what a line of a time line gives the publisher."""
    at = EPOCH + line["t"]
    if "statusline" in line:
        yield line["statusline"]["session_id"], ClientEvent(at, STATUSLINE)
    elif "hook" in line and line["hook"]["hook_event_name"] in EVENTS:
        event = read_event(json.loads(json.dumps(record(line["hook"], at, line.get("entrypoint")))))
        assert event is not None
        yield line["hook"]["session_id"], event


def replay(path: Path) -> Sums:
    """Run a time line and add up how long lamp and screen differed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lamp, sums, screens = Lamp(), Sums(), dict[str, bool]()
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        for session, event in reported(line):
            lamp.tell(session, event)
        if "dialog" in line:
            session, is_open = line["dialog"]["session_id"], line["dialog"]["open"]
            if is_open and not screens.get(session):
                sums.opened()
            screens[session] = is_open
        if after is not None:
            _add(sums, lamp, EPOCH + line["t"], EPOCH + after["t"], dialog=any(screens.values()))
    return sums


def _add(sums: Sums, lamp: Lamp, now: float, end: float, *, dialog: bool) -> None:
    while now < end:
        until = min(end, lamp.due(now) or end)
        sums.count(until - now, lamp.questions(now), dialog=dialog)
        now = until
