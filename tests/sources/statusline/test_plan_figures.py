from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.contract.plan_window import PlanLimit, PlanWindow
from claude_gauge.sources.statusline.plan_figures import (
    KEPT_ACCOUNTS,
    KEPT_WINDOWS,
    SLOTS,
    UNDATED_S,
    Accounts,
    Figure,
    due,
    enter,
    figures,
    from_json,
    fullest,
    present,
    to_json,
)

NOON = 1_795_435_200.0
HOUR, DAY = 3600.0, 86400.0
News = dict[str, Figure]


def reported(at: float, five: tuple[float, float] | None = None, seven: tuple[float, float] | None = None) -> News:
    """Figures that were news at a time: (percentage, reset time) of each window."""
    pairs = (("five_hour", five), ("seven_day", seven))
    return {name: Figure(pair[0] / 100, pair[1], at) for name, pair in pairs if pair is not None}


def shown(accounts: Accounts, now: float = NOON) -> tuple[float | None, float | None]:
    """Return the shares that are shown."""
    five, seven = (present(accounts, slot, now) for slot in SLOTS)
    return five.share if five else None, seven.share if seven else None


def test_news_replaces_in_both_directions() -> None:
    """What the client says now counts, also where it is less: the plan takes use back, and 100 % may be a slip."""
    accounts: Accounts = ()
    for at, used in enumerate((85, 100, 17, 18)):
        accounts = enter(accounts, [reported(NOON + at, (used, NOON + HOUR + 60 * at))])

        assert present(accounts, "five_hour", NOON + 9) == PlanWindow(used / 100, NOON + HOUR + 60 * at)
    assert len(accounts) == 1


def test_another_account() -> None:
    """After a log-in as somebody else, whose windows end earlier, that one's figures are shown."""
    first = reported(NOON, (93, NOON + 4 * HOUR), (70, NOON + 5 * DAY))
    second = reported(NOON + 60, (6, NOON + HOUR), (2, NOON + 3 * DAY))
    accounts = enter(enter((), [first]), [second])

    assert shown(accounts) == (0.06, 0.02)
    assert [[w.share for w in account.five_hour] for account in accounts] == [[0.93], [0.06]]
    back = enter(accounts, [reported(NOON + 120, (94, NOON + 4 * HOUR), (70, NOON + 5 * DAY))])
    assert shown(back) == (0.94, 0.7)
    assert len(back) == 2


def test_accounts_distinguished_by_one_window() -> None:
    """A 5-hour window that could follow the other account's belongs to nobody whose week is another one."""
    first = reported(NOON - 2 * HOUR, (93, NOON - HOUR), (70, NOON + 5 * DAY))
    second = reported(NOON, (6, NOON + 4.5 * HOUR), (2, NOON + 3 * DAY))
    accounts = enter((), [first, second])

    assert [len(account.five_hour) for account in accounts] == [1, 1]
    assert shown(accounts) == (0.06, 0.02)


def test_figures_of_the_other_account_are_not_mixed_in() -> None:
    """What the newest account does not report is unknown, whatever another account's window says."""
    accounts = enter(
        (), [reported(NOON, (93, NOON + HOUR), (70, NOON + 5 * DAY)), reported(NOON + 1, seven=(2, NOON + 3 * DAY))]
    )

    assert shown(accounts) == (None, 0.02)


def test_windows_follow_one_another() -> None:
    """The windows of one account are one history, with the newest share of each and a mark where it fell."""
    news = [
        reported(NOON + n * 5 * HOUR, (10 * n + 5, NOON + (n + 1) * 5 * HOUR), (n, NOON + 6 * DAY)) for n in range(4)
    ]
    news.append(reported(NOON + 15 * HOUR + 60, (12, NOON + 20 * HOUR + 500)))
    (account,) = enter((), news)

    assert [window.share for window in account.five_hour] == [0.05, 0.15, 0.25, 0.12]
    assert [window.fell for window in account.five_hour] == [False, False, False, True]


def test_stale_after_reset() -> None:
    """Once a window has reset its share is unknown until there is newer news."""
    accounts = enter((), [reported(NOON, (97, NOON + 60), (10, NOON + DAY))])

    assert shown(accounts, NOON + 60) == (None, 0.1)
    assert due(accounts, NOON) == NOON + 60
    assert due(accounts, NOON + 60) == NOON + DAY


def fullest_name(accounts: Accounts, now: float) -> str | None:
    """Name the limit that is used up most."""
    limit = fullest(accounts, now)
    return limit.name if limit else None


def test_fullest_limit() -> None:
    """The limit that stops work first is named, whatever its name, until it resets or is reported again."""
    raw = {"five_hour": [10, NOON + HOUR, NOON], "seven_day_opus": [100, NOON + DAY, NOON], "odd": [50, None, NOON]}
    accounts = enter((), [figures({"limits": raw})])

    assert fullest(accounts, NOON) == PlanLimit("seven_day_opus", 1.0, NOON + DAY)
    assert fullest(accounts, NOON + DAY) is None
    less = figures({"limits": {"seven_day_opus": [20, NOON + DAY, NOON + 60]}})
    assert fullest_name(enter(accounts, [less]), NOON + 60) == "odd"
    assert fullest_name(accounts, NOON + 2 * HOUR) == "seven_day_opus"


def test_limit_without_a_reset_time() -> None:
    """A limit without a reset time is believed for a while, and is of the account that reported last."""
    accounts = enter((), [figures({"limits": {"spend_limit": [80, None, NOON]}})])

    assert fullest_name(accounts, NOON + UNDATED_S - 1) == "spend_limit"
    assert fullest(accounts, NOON + UNDATED_S) is None
    assert due(accounts, NOON) == NOON + UNDATED_S
    other = enter(accounts, [reported(NOON + 5, (1, NOON + HOUR))])
    assert enter(other, [figures({"limits": {"spend_limit": [80, None, NOON]}})]) == other


def test_history_is_bounded() -> None:
    """Years of windows and many accounts do not grow the file: the oldest fall out."""
    news = [reported(NOON + n * 5 * HOUR, (50, NOON + (n + 1) * 5 * HOUR)) for n in range(KEPT_WINDOWS + 50)]
    (account,) = enter((), news)
    strangers = [
        reported(NOON + n, (50, NOON + HOUR), (5, NOON + HOUR + n * 0.3 * DAY)) for n in range(KEPT_ACCOUNTS + 9)
    ]

    assert len(account.five_hour) == KEPT_WINDOWS
    assert account.five_hour[-1].resets_at == NOON + (KEPT_WINDOWS + 50) * 5 * HOUR
    assert len(enter((), strangers)) == KEPT_ACCOUNTS


# What terminals report, in any order: of two accounts with three 5-hour windows each, with the jitter of reset times.
ACCOUNTS = [(NOON + 3 * DAY, 0.0), (NOON + 5 * DAY, 2 * HOUR)]
NEWS = st.lists(
    st.builds(
        lambda account, window, jitter, used, at: reported(
            at,
            (used, NOON + HOUR + account[1] + window * 6 * HOUR + jitter),
            (used, account[0] + jitter),
        ),
        st.sampled_from(ACCOUNTS),
        st.integers(0, 2),
        st.floats(0, 600),
        st.integers(0, 100),
        st.floats(NOON, NOON + HOUR),
    ),
    max_size=12,
    unique_by=lambda news: news["five_hour"].at,
)


@given(NEWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(news: list[News], chance: random.Random) -> None:
    """In whatever order files are read, the newest news is what is shown, and no account has the other's windows."""
    shuffled = list(news)
    chance.shuffle(shuffled)
    accounts: Accounts = ()
    for each in shuffled:
        accounts = enter(accounts, [each])
    newest = max(news, key=lambda each: each["five_hour"].at, default=None)

    assert len(accounts) <= 2
    if newest is not None:
        assert accounts[-1].limits["seven_day"] == newest["seven_day"]
        assert present(accounts, "seven_day", NOON + HOUR) is not None
    for account in accounts:
        assert len(account.seven_day) == 1
        assert all(
            b.resets_at - a.resets_at > 5 * HOUR for a, b in zip(account.five_hour, account.five_hour[1:], strict=False)
        )


@given(NEWS)
def test_reported_again(news: list[News]) -> None:
    """Hearing everything a second time changes nothing: files are read again and again."""
    once = enter((), news)

    assert enter(once, news) == once
    assert all(enter(once, [each]) == once for each in news)


@given(NEWS)
def test_kept_on_disk(news: list[News]) -> None:
    """What is written is what is read again."""
    accounts = enter((), news)
    again = from_json(json.loads(json.dumps(to_json(accounts))))

    assert [account.five_hour for account in again] == [account.five_hour for account in accounts]
    assert shown(again) == pytest.approx(shown(accounts))


HUGE = st.sampled_from([10**400, -(10**400), NOON, NOON + 60])
JUNK = st.none() | st.booleans() | st.floats() | st.integers() | HUGE | st.text() | st.lists(st.integers(), max_size=4)
ENTRY = JUNK | st.lists(JUNK, min_size=3, max_size=3)
LIMITS = st.dictionaries(st.sampled_from(["five_hour", "seven_day", "spend_limit", "x"]), ENTRY)


@given(JUNK | st.fixed_dictionaries({"limits": JUNK | LIMITS}))
def test_any_file(raw: object) -> None:
    """No content of a file can raise, and what is taken from it is a share of a limit that runs."""
    taken = figures(raw if isinstance(raw, dict) else {"limits": raw})

    assert all(0 <= each.share <= 1 for each in taken.values())
    assert all(each.resets_at is None or each.resets_at > each.at for each in taken.values())
    assert enter(enter((), [taken]), [taken]) == enter((), [taken])


@given(JUNK | st.dictionaries(st.sampled_from(["five_hour", "seven_day", "limits"]), JUNK | st.lists(ENTRY)))
def test_any_kept_file(raw: object) -> None:
    """A broken file of ours is read as far as it is sound."""
    for account in from_json({"accounts": [raw]}):
        assert all(0 <= window.share <= 1 for slot in SLOTS for window in account.windows(slot))
