from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apps.fleet.conftest import NOW, usage

from claude_gauge.contract.usage import Usage, stamp
from claude_gauge.counting.sums import FIVE_HOURS_S
from claude_gauge.outlets.alerts.decide import Alert, Fired, decide, decide_limit

THRESHOLDS = (0.8, 0.95)


def at(share: float, *, ends: float | None = NOW + 3600, source: str | None = "plan", **more: object) -> Usage:
    """A payload with this share of a window that ends then."""
    resets_at = None if ends is None else stamp(ends)
    return usage(window_5h_pct=share, window_5h_resets_at=resets_at, fuel_source=source, **more)


def reported(*steps: tuple[float, Usage]) -> list[float]:
    """The thresholds that are reported, payload by payload; 0 where nothing is."""
    fired: Fired | None = None
    sent = []
    for now, payload in steps:
        alert, fired = decide(payload, THRESHOLDS, fired, now)
        sent.append(alert.threshold if alert else 0)
    return sent


def test_once_per_window() -> None:
    """A threshold learns when it is passed, and not again while the share dances around it."""
    shares = [0.79, 0.80, 0.81, 0.79, 0.82, 0.96, 0.94, 0.97]

    assert reported(*((NOW + n, at(share)) for n, share in enumerate(shares))) == [0, 0.8, 0, 0, 0, 0.95, 0, 0]


def test_several_at_once() -> None:
    """When several thresholds are passed at once only the highest is reported."""
    assert reported((NOW, at(0.99)), (NOW + 1, at(0.99))) == [0.95, 0]


def test_next_window() -> None:
    """After the reset the same thresholds are reported again."""
    assert reported(
        (NOW, at(0.9)), (NOW + 3601, at(0.1, ends=NOW + 18000)), (NOW + 9999, at(0.9, ends=NOW + 18000))
    ) == [
        0.8,
        0,
        0.8,
    ]


def test_next_window_before_the_old_one_ends_here() -> None:
    """A clock that is a little behind sees the next window early: it is a new one all the same."""
    assert reported((NOW, at(0.9)), (NOW + 3590, at(0.85, ends=NOW + 3600 + FIVE_HOURS_S))) == [0.8, 0.8]


def test_jitter_of_the_reset() -> None:
    """A reset that is reported a few seconds differently is the same window."""
    assert reported(*((NOW + n, at(0.9, ends=NOW + 3600 + 7 * n)) for n in range(5))) == [0.8, 0, 0, 0, 0]


def test_plan_after_ceiling() -> None:
    """When the plan's own figure takes over from the guess, the window is not reported twice."""
    guess, plan = at(0.9, source="ceiling", ends=NOW + 600), at(0.85, ends=NOW + 9000)

    assert reported((NOW, guess), (NOW + 1, plan), (NOW + 700, plan)) == [0.8, 0, 0]


def test_reported_under_a_wrong_clock() -> None:
    """What was reported by a clock that ran years ahead silences nothing once the clock is right."""
    for ends in (NOW + 6 * 3600, NOW + 1e9, 1e300, float("inf"), float("nan")):
        alert, fired = decide(at(0.9), THRESHOLDS, Fired(0.95, ends, "plan"), NOW)

        assert alert
        assert fired == Fired(0.8, NOW + 3600, "plan")


def test_old_figure() -> None:
    """A figure that outlived its window, or whose source is away, says nothing."""
    assert reported((NOW, at(0.99, ends=NOW - 1)), (NOW, at(0.99, source=None))) == [0, 0]


def test_rolling_window() -> None:
    """Where no reset is known, a threshold is reported at most once in five hours."""
    fired: Fired | None = None
    times = [NOW + 60 * n for n in range(700)]
    sent = []
    for now in times:
        alert, fired = decide(at(0.9, ends=None, source="ceiling"), THRESHOLDS, fired, now)
        sent += [now] if alert else []

    assert sent[0] == NOW
    assert all(later - earlier >= FIVE_HOURS_S for earlier, later in pairwise(sent))
    assert len(sent) == 3


def test_reset_in_the_far_future() -> None:
    """A reset that no 5-hour window has neither silences the gauge for years nor repeats a threshold endlessly."""
    absurd = at(0.9, ends=NOW + 1e8)

    assert reported((NOW, absurd), (NOW + 900, absurd), (NOW + FIVE_HOURS_S + 1, absurd)) == [0.8, 0, 0.8]


def test_no_thresholds() -> None:
    """Without thresholds nothing is ever reported, and a threshold of 0 is none."""
    assert decide(at(1), (), None, NOW) == (None, None)
    assert decide(at(0), (0.0,), None, NOW) == (None, None)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60)), max_size=60), st.lists(st.floats(0, 1), max_size=4))
def test_never_twice(steps: list[tuple[float, int]], thresholds: list[float]) -> None:
    """Whatever the figure does within a window, no threshold is reported twice and they only rise."""
    fired: Fired | None = None
    now, sent = NOW, []
    for share, passed in steps:
        now = min(now + passed, NOW + 3599)
        alert, fired = decide(at(share), thresholds, fired, now)
        sent += [alert.threshold] if alert else []

    assert sent == sorted(set(sent))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "83 % of the 5-hour window is used; it resets at"),
        ({"limit_before_reset": True, "minutes_to_limit": 41.7}, "at this pace it is used up in 42 min"),
    ],
)
def test_text(more: dict[str, Any], words: str) -> None:
    """An alert says what a person wants to know, in one sentence."""
    assert words in Alert(0.8, at(0.83, **more), NOW).text


def test_other_limits_are_reported_each_by_itself() -> None:
    """Each limit of the plan alerts once per threshold, whichever is the fullest, and again after its reset."""
    steps: list[tuple[str | None, float | None]] = [
        ("opus", 0.7),
        ("opus", 0.8),
        ("week", 0.82),
        ("opus", 0.85),
        ("opus", 1.0),
        ("five_hour", 1.0),
    ]
    steps += [("opus", 0.93), ("opus", 0.96), ("opus", 0.5), ("opus", 0.8), (None, 1.0), ("spend", None)]
    limits: Mapping[str, float] = {}
    sent = []
    for name, share in steps:
        alert, limits = decide_limit(at(0.1, limit_name=name, limit_pct=share), THRESHOLDS, limits, NOW)
        sent.append(alert.threshold if alert else 0)

    assert sent == [0, 0.8, 0.8, 0, 0.95, 0, 0, 0, 0, 0.8, 0, 0]


def test_an_alert_speaks_of_the_fullest_limit() -> None:
    """What is reported the window also names a limit that is fuller."""
    said = Alert(0.8, at(0.83, limit_name="seven_day_opus", limit_pct=1.0), NOW).text

    assert "; 100 % of the limit seven_day_opus is used" in said
    assert "limit" not in Alert(0.8, at(0.83, limit_name="five_hour", limit_pct=0.83), NOW).text
