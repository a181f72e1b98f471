from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.sums import Window

AT = 1_763_900_000.0


def test_minute_ends_exactly_after_a_minute() -> None:
    """Tokens count for 60 s in the minute and 300 s in the five, and `due` names both moments."""
    window = Window()
    window.add(AT, Tokens(output=5))

    assert window.traffic(AT).minute == Tokens(output=5)
    assert window.due(AT) == AT + 60
    assert window.traffic(AT + 59.999).minute == Tokens(output=5)
    assert window.traffic(AT + 60).minute == Tokens()
    assert window.due(AT + 60) == AT + 300
    assert window.traffic(AT + 300).five_minutes == Tokens()
    assert window.due(AT + 300) is None


def test_correction_never_shows_as_negative() -> None:
    """A correction that outlives what it corrects leaves zero, not less."""
    window = Window()
    window.add(AT, Tokens(output=100))
    window.add(AT + 50, Tokens(output=-90))

    assert window.traffic(AT + 50).minute == Tokens(output=10)
    assert window.traffic(AT + 70).minute == Tokens()


def test_newest_message_names_the_model() -> None:
    """The last model is that of the newest line by its own time, in whatever order lines are read."""
    window = Window()
    window.seen(AT, "claude-opus-5-5", AT)
    window.seen(AT - 50, "claude-haiku-5-5", AT)

    assert (window.traffic(AT).model, window.traffic(AT).newest_at) == ("opus", AT)


def test_line_from_the_future_proves_nothing() -> None:
    """A line hours ahead of our clock is neither the newest nor traffic."""
    window = Window()
    window.seen(AT + 9000, "claude-haiku-5-5", AT)
    window.add(AT + 9000, Tokens(output=5))

    assert window.traffic(AT).newest_at is None
    assert window.traffic(AT).minute == Tokens()


def test_clock_set_back_frees_the_last_model() -> None:
    """What was newest by a clock since set back does not hide the lines that follow."""
    window = Window()
    window.seen(AT + 18_000, "claude-opus-5-5", AT + 18_000)
    window.seen(AT, "claude-haiku-5-5", AT)

    assert (window.traffic(AT).model, window.traffic(AT).newest_at) == ("haiku", AT)


def test_estimates_are_marked_while_they_count() -> None:
    """The thinking share is called estimated as long as a guess is in the five minutes."""
    window = Window()
    window.add(AT, Tokens(output=9, thinking=3), estimated=True)
    window.add(AT + 100, Tokens(output=9, thinking=3))

    assert window.traffic(AT + 299).thinking == "estimated"
    assert window.traffic(AT + 300).thinking == "exact"


def test_memory_is_bounded() -> None:
    """Events long past are dropped."""
    window = Window()
    for n in range(20_000):
        window.add(AT + n, Tokens(output=1))
        window.traffic(AT + n)

    assert len(window._events) < 6000
    assert window.traffic(AT + 19_999).five_minutes.output == 300


_steps = st.lists(
    st.tuples(
        st.floats(-400, 400) | st.just(0.0),
        st.integers(0, 1000),
        st.floats(-18_000, 18_000) | st.floats(-5, 90),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(_steps)
def test_sums_are_those_of_a_plain_count(steps: list[tuple[float, int, float, bool]]) -> None:
    """Events put in and taken back in any order of time, under a clock that jumps by hours, sum as a plain count."""
    window, events, now = Window(), list[tuple[float, int]](), AT
    for ahead, tokens, passed, back in steps:
        window.add(now + ahead, Tokens(output=tokens))
        events.append((now + ahead, tokens))
        if back:
            at, count = events.pop(len(events) // 2)
            window.remove(at, Tokens(output=count))
        now += passed
        traffic = window.traffic(now)

        assert traffic.minute.output == sum(count for at, count in events if at <= now < at + 60)
        assert traffic.five_minutes.output == sum(count for at, count in events if at <= now < at + 300)
