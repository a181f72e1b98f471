"""Recorded time lines of the real Claude Code: what hooks and statusline got, beside the dialogs on its screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass
class Sums:
    """Seconds with a dialog and no lamp, and with a lamp and no dialog."""

    dark: float = 0.0
    idle: float = 0.0
    lit: float = 0.0

    def __str__(self) -> str:
        return (
            f"dialog, no lamp {self.dark:6.2f} s   lamp, no dialog {self.lit:6.2f} s (idle prompts {self.idle:.2f} s)"
        )


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
    """Yield what a line of a time line tells the publisher."""
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
            screens[line["dialog"]["session_id"]] = line["dialog"]["open"]
        if after is not None:
            _add(sums, lamp, EPOCH + line["t"], EPOCH + after["t"], dialog=any(screens.values()))
    return sums


def _add(sums: Sums, lamp: Lamp, now: float, end: float, *, dialog: bool) -> None:
    while now < end:
        until = min(end, lamp.due(now) or end)
        questions, span = lamp.questions(now), until - now
        sums.dark += span if dialog and not questions else 0.0
        sums.lit += span if questions and not dialog else 0.0
        sums.idle += span if questions and not dialog and all(questions) else 0.0
        now = until
