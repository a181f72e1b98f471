from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.otlp.receiving import NOW

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Turn
from claude_gauge.sources.otlp.counter import OtlpCounter
from claude_gauge.sources.otlp.decode import Request


@dataclass(frozen=True)
class Told:
    """One telling of a response: by an event, or by a line with so much of its output."""

    response: int
    output: int | None  # None: an event, which knows it all


TOLD = st.builds(Told, response=st.integers(0, 3), output=st.sampled_from([None, 1, 60, 100]))


@settings(max_examples=300)
@given(tellings=st.lists(TOLD, max_size=16), ids=st.sampled_from(["both", "event", "line"]), sidechain=st.booleans())
def test_any_order(tellings: list[Told], ids: str, sidechain: bool) -> None:  # noqa: FBT001 - drawn by name
    """Events and growing lines of several responses, repeated and in any order: the largest figure of each counts."""
    counter = OtlpCounter()
    seen: set[int] = set()
    for reported in tellings:
        at, prompt, name = NOW - 60 * reported.response, (reported.response, 1000, 50), f"req_{reported.response}"
        if reported.output is not None:
            request_id = None if ids == "event" else name
            figures = (prompt[0], reported.output, *prompt[1:])
            line = Turn(
                at, f"msg_{reported.response}", request_id, None, "opus", sidechain, *figures, thinking=reported.output
            )
            counter.add(line, NOW)
        elif reported.response not in seen:  # the books know one that is sent again
            seen.add(reported.response)
            tokens = Tokens(prompt[0], 100, *prompt[1:])
            counter.event(Request(reported.response, "" if ids == "line" else name, (), at, "opus", tokens), NOW)
    whole = {reported.response for reported in tellings if ids == "both" and reported.output in (None, 100)}
    most = {
        response: 100 if response in whole else max(100 if each.output is None else each.output for each in own)
        for response in {reported.response for reported in tellings}
        if (own := [reported for reported in tellings if reported.response == response])
    }
    thought = sum(
        max((reported.output or 0 for reported in tellings if reported.response == response), default=0)
        for response in most
        if 60 * response < 300
    )

    if ids == "both":
        assert counter.week(NOW) == sum(response + 1050 + output for response, output in most.items())
        assert counter.traffic(NOW).five_minutes.thinking == thought
    else:  # an event after a cut line is not matched to more: the line's own figures stay
        assert (
            sum(response + 1051 for response in most) <= counter.week(NOW) <= sum(response + 1150 for response in most)
        )
