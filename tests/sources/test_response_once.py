"""A response that transcript and telemetry report counts once, with or without ids, in any order, over restarts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.sources.otlp.receiving import NOW

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Turn
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import Request


@dataclass(frozen=True)
class Response:
    """One response: when its blocks ended, before its end, in seconds; its figures; and what is reported its ids."""

    ended: float
    blocks: tuple[float, ...]
    prompt: tuple[int, int, int]
    output: int
    line_id: bool
    event_id: bool
    thinking: int = 0  # of its output

    def lines(self, number: int) -> list[Turn]:
        """Write the lines of its transcript: each has its block's time, all have the final figures."""
        request = f"req_{number}" if self.line_id else None
        figures = (self.prompt[0], self.output, *self.prompt[1:])
        times = [self.ended - before for before in sorted(self.blocks, reverse=True)]
        thinking = self.thinking or None
        return [Turn(at, f"msg_{number}", request, f"{number}-{at}", "opus", False, *figures, thinking) for at in times]  # noqa: FBT003

    def event(self, number: int, late: float) -> Request:
        """Write its event, sent at its end or a little after."""
        tokens = Tokens(self.prompt[0], self.output, *self.prompt[1:])
        name = f"req_{number}" if self.event_id else ""
        return Request(number + 1, name, ("s",), self.ended + late, "opus", tokens)


def _responses(count: int, longest_ago: float = 7200) -> st.SearchStrategy[list[Response]]:
    ids = st.sampled_from([(False, False), (False, False), (True, False), (False, True), (True, True)])
    return ids.flatmap(lambda given_ids: _of_one_gateway(count, longest_ago, given_ids))


def _of_one_gateway(count: int, longest_ago: float, ids: tuple[bool, bool]) -> st.SearchStrategy[list[Response]]:
    one = st.builds(
        lambda ended, blocks, prompt, output: Response(NOW - ended, (0.0, *blocks), prompt, output, *ids),
        st.floats(0, longest_ago),
        st.lists(st.sampled_from([1.0, 12.0, 45.0, 70.0, 600.0]), max_size=3, unique=True),
        # Few different ones, so that parallel agents with the same prompt are among them.
        st.sampled_from([(3, 0, 14_000), (3, 14_000, 500), (10, 1000, 50), (4, 52_000, 900)]),
        st.integers(1, 5000),
    )
    return st.lists(one, min_size=1, max_size=count)


@dataclass
class World:
    """A publisher that restarts: its journal holds the events, its transcripts the lines.

    `mixed`: the transcripts are read side by side, so that lines of several responses alternate.
    """

    events: list[Request]
    lines: list[Turn]
    counter: OtlpCounter
    mixed: bool

    def restart(self) -> None:
        """Begin again: the journal is read first, then the transcripts."""
        self.counter = OtlpCounter()
        for each in self.events:
            self.counter.event(each, NOW)
        for line in sorted(self.lines, key=lambda line: line.at) if self.mixed else self.lines:
            self.counter.add(line, NOW)


TWO_BLOCKS = Response(NOW, (0.0, 1.0), (3, 0, 14_000), 1, line_id=False, event_id=False)
ONE_BLOCK = Response(
    NOW - 1, (0.0,), (3, 0, 14_000), 1, line_id=False, event_id=False
)  # beside the other's first block
LONG = Response(NOW - 100, (0.0, 45.0), (10, 1000, 50), 100, line_id=False, event_id=False)


# A response that took 12 s, and one with the same figures that ended 11 s before it.
TWELVE_SECONDS = Response(NOW, (0.0, 1.0, 12.0), (3, 0, 14_000), 1, line_id=False, event_id=False)
ELEVEN_BEFORE = Response(NOW - 11, (0.0,), (3, 0, 14_000), 1, line_id=False, event_id=False)
AT_ONCE = Response(NOW, (0.0,), (3, 0, 14_000), 1, line_id=False, event_id=False)
# For the last line to have its event, one response has to move, and another one for that.
CHAIN = [AT_ONCE, AT_ONCE, replace(AT_ONCE, ended=NOW - 22), replace(AT_ONCE, ended=NOW - 11, blocks=(0.0, 12.0))]
# An event with another output is free, one with the same output is not.
OTHER_OUTPUT = [
    AT_ONCE, AT_ONCE, replace(TWELVE_SECONDS, output=2), replace(ELEVEN_BEFORE, ended=NOW - 12, output=2)
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    responses=_responses(5),
    orders=st.lists(st.sampled_from(["lines", "event"]), min_size=5, max_size=5),
    late=st.floats(0, 5),
    restarts=st.lists(st.booleans(), min_size=5, max_size=5),
    mixed=st.booleans(),
)
@example(responses=[LONG], orders=["lines"] * 5, late=0.2, restarts=[True] * 5, mixed=False)
@example(responses=[LONG, LONG], orders=["event"] * 5, late=0.2, restarts=[False] * 5, mixed=False)
@example(responses=[TWO_BLOCKS, ONE_BLOCK], orders=["lines"] * 5, late=0.0, restarts=[False] * 5, mixed=False)
@example(responses=[TWELVE_SECONDS, ELEVEN_BEFORE], orders=["lines"] * 5, late=0.0, restarts=[False] * 5, mixed=False)
@example(responses=[TWELVE_SECONDS, ELEVEN_BEFORE], orders=["lines"] * 5, late=0.0, restarts=[False] * 5, mixed=True)
@example(responses=CHAIN, orders=["lines"] * 5, late=0.0, restarts=[False] * 5, mixed=True)
@example(responses=OTHER_OUTPUT, orders=["lines"] * 5, late=0.0, restarts=[False] * 5, mixed=True)
def test_once(*, responses: list[Response], orders: list[str], late: float, restarts: list[bool], mixed: bool) -> None:
    """However long it took, whoever reported it first, and however often the publisher restarts: each response once."""
    world = World([], [], OtlpCounter(), mixed)
    for number, (response, first, restart) in enumerate(zip(responses, orders, restarts, strict=False)):
        lines, event = response.lines(number), response.event(number, late)
        for what in (first, "event" if first == "lines" else "lines"):
            if what == "event":
                world.counter.event(event, NOW)
                world.events.append(event)
                continue
            for line in lines:
                world.counter.add(line, NOW)
            world.lines += lines
        if restart:
            world.restart()
    true = sum(sum(each.prompt) + each.output for each in responses)
    counted = world.counter.week(NOW)
    world.restart()

    assert counted == true
    assert world.counter.week(NOW) == true


PAIR = [replace(each, output=100) for each in (TWELVE_SECONDS, ELEVEN_BEFORE)]


def _thinking(thinking: int, responses: list[Response]) -> list[Response]:
    return [replace(each, thinking=1 + (thinking + number) % each.output) for number, each in enumerate(responses)]


@settings(max_examples=300, deadline=None)
@given(responses=_responses(5, 200), thinking=st.integers(0, 400), mixed=st.booleans(), forked=st.booleans())
@example(responses=PAIR, thinking=40, mixed=False, forked=False)
@example(responses=PAIR, thinking=40, mixed=True, forked=True)
@example(responses=[replace(each, output=100) for each in CHAIN], thinking=40, mixed=True, forked=False)
def test_thinking_moves_with_its_response(
    *, responses: list[Response], thinking: int, mixed: bool, forked: bool
) -> None:
    """What a response thought counts once, also where its lines were first taken for another event's."""
    thought = _thinking(thinking, responses)
    world = World([], [], OtlpCounter(), mixed)
    for number, each in enumerate(thought):
        world.events.append(each.event(number, 0.0))
        world.lines += each.lines(number)
    world.lines += world.lines if forked else []
    world.restart()

    assert world.counter.week(NOW) == sum(sum(each.prompt) + each.output for each in thought)
    assert world.counter.traffic(NOW).five_minutes.thinking == sum(each.thinking for each in thought)


@pytest.mark.parametrize("event_first", [False, True])
def test_guessed_thinking_moves_with_its_response(*, event_first: bool) -> None:
    """A thinking block that was first taken for another event's is weighed with the rest of its own response."""
    counter, tokens = OtlpCounter(), Tokens(3, 100, 0, 14_000)
    other, own = (Request(number, "", ("s",), at, "opus", tokens) for number, at in ((1, NOW - 100), (2, NOW - 40)))
    thought = Turn(NOW - 105, "msg_2", None, "2-1", "opus", False, 3, 100, 0, 14_000, thought=500)  # noqa: FBT003
    spoken = thought._replace(at=NOW - 40, line_id="2-2", thought=0, spoken=500)
    for each in (other, own) if event_first else (other,):
        counter.event(each, NOW)
    counter.add(thought, NOW)
    counter.add(spoken, NOW)
    if not event_first:
        counter.event(own, NOW)
    counter.add(spoken._replace(at=NOW - 100, message_id="msg_1", line_id="1-1"), NOW)

    assert counter.week(NOW) == 2 * 14_103
    assert counter.traffic(NOW).five_minutes.thinking == 50


@settings(max_examples=100, deadline=None)
@given(responses=_responses(4), late=st.floats(0, 1), first=st.sampled_from(["lines", "event"]))
def test_belongs_to_its_end(responses: list[Response], late: float, first: str) -> None:
    """The tach shows a response from the moment it ended, not from that of its first block."""
    counter = OtlpCounter()
    for number, response in enumerate(responses):
        if first == "event":
            counter.event(response.event(number, late), NOW)
        for line in response.lines(number):
            counter.add(line, NOW)
        if first == "lines":
            counter.event(response.event(number, late), NOW)
    recent = [each for each in responses if NOW - each.ended < 59]
    borderline = [each for each in responses if 59 <= NOW - each.ended <= 60]
    least = sum(sum(each.prompt) + each.output for each in recent)

    assert least <= counter.traffic(NOW).minute.total <= least + sum(sum(e.prompt) + e.output for e in borderline)
