"""The log of what was counted finds what a walk through all of it would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.sources.otlp.timeline import Entry, Timeline

ENTRY = st.builds(
    Entry,
    at=st.floats(0, 20_000),
    key=st.integers(1, 4),  # keys, ids and figures are numbers alike: none may be taken for another
    request=st.integers(0, 4),
    figures=st.tuples(*[st.integers(0, 2)] * 4),
)
SEARCH = st.tuples(st.integers(0, 4) | st.none(), st.floats(0, 20_000), st.floats(0, 4000))
FORGET = st.floats(0, 20_000)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(ENTRY | SEARCH | FORGET, max_size=40))
def test_any_search(steps: list[Entry | tuple[int | None, float, float] | float]) -> None:
    """Entries that are added, searched and forgotten in any order are found by figures, by id and by time."""
    timeline, kept = Timeline(), list[Entry]()
    for step in steps:
        if isinstance(step, Entry):
            timeline.add(*step)
            kept.append(step)
        elif isinstance(step, float):
            timeline.forget(step)
            kept = [each for each in kept if (each.at // 3600 + 1) * 3600 >= step]
        else:
            request, since, length = step
            inside = [each for each in kept if since <= each.at <= since + length]
            if request is None:
                prompt = (1, 0, 2)
                same = [each for each in inside if (each.figures[0], *each.figures[2:]) == prompt]
                found = timeline.near(hash(prompt), since, since + length)
            else:
                same = [each for each in inside if each.request == request]
                found = timeline.near(request, since, since + length, "request")
                anywhere = timeline.anywhere(request)
                assert (anywhere in kept) == any(each.request == request for each in kept)

            assert sorted(found) == sorted(same)
