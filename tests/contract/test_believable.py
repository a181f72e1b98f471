from __future__ import annotations

from math import inf, nan

import pytest

from claude_gauge.contract.plan_window import (
    AHEAD_S,
    FIVE_HOUR_RESET_S,
    MOST_TOKENS,
    Refused,
    happened,
    resets,
    tokens,
    whole_tokens,
)

NOW = 1_763_900_000.0


@pytest.mark.parametrize(
    ("at", "right"),
    [(NOW, True), (NOW + AHEAD_S, True), (1.0, True)]
    + [(bad, False) for bad in (NOW + AHEAD_S + 1, NOW + 86400, 1e300, inf, -inf, nan, 0.0, -5.0)],
)
def test_nothing_happens_in_the_future(at: float, right: bool) -> None:  # noqa: FBT001 - a table
    """A clock's time may be ahead of ours by two minutes; no garbage is a time."""
    assert happened(at, NOW) is right


@pytest.mark.parametrize(
    ("at", "right"),
    [(NOW + 1, True), (NOW + FIVE_HOUR_RESET_S, True)]
    + [(bad, False) for bad in (NOW, NOW - 1, NOW + FIVE_HOUR_RESET_S + 1, 1e300, inf, nan)],
)
def test_five_hour_window_ends_within_five_hours(at: float, right: bool) -> None:  # noqa: FBT001 - a table
    """A reset lies ahead, and no further than the window is long and clocks differ."""
    assert resets(at, NOW, FIVE_HOUR_RESET_S) is right


def test_seven_day_window_ends_within_eight_days() -> None:
    """Without a length the longest window's holds."""
    assert resets(NOW + 8 * 86400, NOW)
    assert not resets(NOW + 8 * 86400 + 1, NOW)


@pytest.mark.parametrize("bad", [-1, MOST_TOKENS + 1, inf, nan, 10**400, "5", None, True, [], {}])
def test_garbage_is_no_count(bad: object) -> None:
    """Counts are finite, not negative, and below what any response can use."""
    assert whole_tokens(bad) is None


def test_counts_are_whole() -> None:
    """A count written as a float is one too."""
    assert [whole_tokens(value) for value in (0, 5, 5.0, MOST_TOKENS)] == [0, 5, 5, MOST_TOKENS]
    assert tokens(MOST_TOKENS)
    assert not tokens(nan)


def test_refused_is_counted_and_seldom_reported() -> None:
    """The first, tenth, hundredth refusal of a reason is reported: a flood of garbage fills no log."""
    refused, reported = Refused(), list[int]()
    for n in range(1, 1001):
        refused.add("times ahead of this clock")
        reported += [n] if refused.news() else []
    refused.add("counts")

    assert reported == [1, 10, 100, 1000]
    assert len(refused) == 1001
    assert refused.news() == "1000 times ahead of this clock, 1 counts"
    assert refused.news() == ""
