from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.counting.reading import PlanWindow
from claude_gauge.sources.statusline.plan_figures import EMPTY, KEPT, SAME_WINDOW_S, Seen, enter, from_status, present

NOON = 1_795_435_200.0
HOUR = 3600.0
RESETS = [NOON + HOUR, NOON + 6 * HOUR + 60, NOON + 30 * HOUR]

# What terminals tell, in any order: of one of three windows, with the jitter that its reset time comes with.
NEWS = st.lists(
    st.builds(
        lambda reset, jitter, used, at: Seen(reset + jitter, used / 100, at),
        st.sampled_from(RESETS),
        st.floats(-SAME_WINDOW_S / 2.1, SAME_WINDOW_S / 2.1),
        st.integers(0, 100),
        st.floats(NOON, NOON + HOUR),
    ),
    max_size=12,
)


@given(NEWS, st.randoms())
def test_order_does_not_matter(news: list[Seen], chance: object) -> None:
    """In whatever order terminals tell it, each window ends up with the highest share that any of them told."""
    shuffled = list(news)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    book = enter(EMPTY, "five_hour", shuffled)["five_hour"]
    wanted = [max((s.share for s in news if abs(s.resets_at - reset) < HOUR), default=None) for reset in RESETS]

    assert [seen.share for seen in book] == [share for share in wanted if share is not None]


@given(NEWS)
def test_told_again(news: list[Seen]) -> None:
    """Hearing everything a second time changes nothing: files are read again and again."""
    once = enter(EMPTY, "seven_day", news)

    assert enter(once, "seven_day", news) == once


@given(NEWS, st.floats(NOON - HOUR, NOON + 40 * HOUR))
def test_what_is_shown_can_be_true(news: list[Seen], now: float) -> None:
    """What is shown as present has not reset yet and was told of that very window."""
    window = present(enter(EMPTY, "five_hour", news), "five_hour", now)

    assert window is None or (now < window.resets_at and window.share in {seen.share for seen in news})


def test_account_wide_percentage_never_falls() -> None:
    """Within one window the needle does not fall, whichever terminal speaks last."""
    book, shown = EMPTY, []
    for used in (10, 30, 20, 31, 5):
        book = enter(book, "five_hour", [Seen(RESETS[0], used / 100, NOON)])
        window = present(book, "five_hour", NOON)
        shown.append(window.share if window else None)

    assert shown == [0.1, 0.3, 0.3, 0.31, 0.31]


def test_book_is_bounded() -> None:
    """Years of windows do not grow the book: the oldest fall out."""
    news = [Seen(NOON + number * HOUR, 0.5, NOON) for number in range(KEPT + 50)]
    book = enter(EMPTY, "five_hour", news)["five_hour"]

    assert len(book) == KEPT
    assert book[-1].resets_at == news[-1].resets_at


def test_two_windows_in_the_future() -> None:
    """Where two windows could be the present one, the later is: windows follow one another."""
    news = [Seen(NOON + HOUR, 0.9, NOON), Seen(NOON + 4 * HOUR, 0.1, NOON)]

    assert present(enter(EMPTY, "five_hour", news), "five_hour", NOON) == PlanWindow(0.1, NOON + 4 * HOUR)


HUGE = st.sampled_from([10**400, -(10**400), NOON, NOON + 60])
JUNK = st.none() | st.booleans() | st.floats() | st.integers() | HUGE | st.text() | st.lists(st.integers(), max_size=4)


@given(
    st.dictionaries(st.sampled_from(["five_hour", "seven_day", "at"]), JUNK | st.lists(JUNK, min_size=3, max_size=3))
)
def test_any_file(status: dict[str, object]) -> None:
    """No content of a file can raise, and what is taken from it is a share of a window that runs."""
    for slot in EMPTY:
        seen = from_status(slot, status)

        assert seen is None or (0 <= seen.share <= 1 and seen.resets_at > seen.at)
