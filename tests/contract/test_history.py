from __future__ import annotations

from claude_gauge.contract.history import History, Slice


def test_highest_rate_and_last_share_of_a_slice() -> None:
    """Within a slice the highest rate stays and the newest share wins."""
    history = History(slices=3, slice_s=60)
    for at, rate, share in ((60, 5, 0.1), (70, 9, 0.2), (80, 1, 0.3)):
        history.add(at, rate, share)

    assert history.last(90) == [None, None, Slice(1, 9, 0.3)]


def test_gap_stays_a_gap() -> None:
    """A time without any payload is not drawn as zero."""
    history = History(slices=3, slice_s=60)
    history.add(0, 5, 0.1)
    history.add(120, 7, 0.2)

    assert history.last(120) == [Slice(0, 5, 0.1), None, Slice(2, 7, 0.2)]


def test_what_is_too_old_falls_out() -> None:
    """The strip ends at the present, also when nothing came for long."""
    history = History(slices=3, slice_s=60)
    history.add(0, 5, 0.1)

    assert history.last(300) == [None] * 3


def test_clock_jumped_back() -> None:
    """After the clock went back the strip starts again rather than mixing two times."""
    history = History(slices=3, slice_s=60)
    history.add(7200, 5, 0.1)
    history.add(60, 6, 0.2)

    assert history.last(60) == [None, None, Slice(1, 6, 0.2)]


def test_what_a_source_remembers() -> None:
    """The time before the first payload is filled from the source's memory; what was published stays as it was."""
    history = History(slices=4, slice_s=60)
    history.add(180, 5, 0.1)
    history.remember({1: 70, 2: 80, 3: 999, -50: 1}, 185)

    assert history.last(185) == [Slice(0, 0, None), Slice(1, 70, None), Slice(2, 80, None), Slice(3, 5, 0.1)]


def test_remembered_before_any_payload() -> None:
    """A memory that comes before the first payload leaves the present slice to it."""
    history = History(slices=3, slice_s=60)
    history.remember({0: 70, 1: 80, 2: 90}, 125)
    history.add(126, 5, 0.1)

    assert history.last(130) == [Slice(0, 70, None), Slice(1, 80, None), Slice(2, 5, 0.1)]
