from __future__ import annotations

import pytest

from claude_gauge.hooks.statusline import FIVE_HOURS_S, live, reset_time, share

NOON = 1_795_435_200.0


@pytest.mark.parametrize(
    ("percentage", "wanted"),
    [(0, 0.0), (42.5, 0.425), (100, 1.0), (103.7, 1.0), ("37", 0.37)],
)
def test_percentage(percentage: object, wanted: float) -> None:
    """A percentage becomes a share; a plan that was overdrawn is full, not more than full."""
    assert share(percentage) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "garbage", [NOON, -1, float("nan"), float("inf"), 1e300, None, True, "", "full", [], {}, 10**400]
)
def test_no_percentage(garbage: object) -> None:
    """An epoch that leaked into the percentage, a negative, and what is no number say nothing."""
    assert share(garbage) is None


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        int(NOON),
        NOON * 1000,
        str(NOON),
        "2026-11-23T12:00:00Z",
        "2026-11-23T13:00:00.000+01:00",
        "2026-11-23 12:00",
    ],
)
def test_reset_time(value: object) -> None:
    """Seconds, milliseconds and ISO 8601, with or without a zone, are the same moment."""
    assert reset_time(value) == NOON


@pytest.mark.parametrize("garbage", [None, True, "", "soon", 0, -5, float("nan"), [], "9999-99-99"])
def test_no_reset_time(garbage: object) -> None:
    """What is no time says nothing."""
    assert reset_time(garbage) is None


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(-1, False), (0, False), (1, True), (FIVE_HOURS_S, True), (FIVE_HOURS_S + 60, True), (2 * FIVE_HOURS_S, False)],
)
def test_live(seconds: float, *, wanted: bool) -> None:
    """A window is dead once it has reset; one that ends further off than it is long is garbage."""
    assert live(NOON + seconds, FIVE_HOURS_S, NOON) is wanted
