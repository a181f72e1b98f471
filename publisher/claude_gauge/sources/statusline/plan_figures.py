"""The plan's own figures: those of the account that reported last, and each account's past windows.

A statusline is news when the session's API time has moved since that session last reported figures (`hooks.statusline`
marks it so); a repeat never reaches this module with a new time. News replaces its account's figures, in both
directions: the plan may take a percentage back.

The figures do not say whose they are. An account's windows of one kind follow one another: each ends at least its
length after the one before, give or take the `SAME_WINDOW_S` by which the client's reset times of one window differ.
Figures whose windows neither are an account's nor can follow them belong to another account.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from claude_gauge.contract.plan_window import SAME_WINDOW_S, PlanLimit, PlanWindow, same
from claude_gauge.hooks.statusline import LENGTHS, length_s, live, number, reset_time, share

Slot = Literal["five_hour", "seven_day"]
SLOTS: tuple[Slot, ...] = ("five_hour", "seven_day")
KEPT_WINDOWS = 300  # of each kind: two months of 5-hour ones
KEPT_ACCOUNTS = 8
UNDATED_S = 3600.0  # how long a limit without a reset time is believed
FALL = 0.02  # less is rounding


@dataclass(frozen=True, slots=True)
class Figure:
    """One limit: the share of it that was used, when it resets (None: unknown), and when this was new."""

    share: float
    resets_at: float | None
    at: float


@dataclass(frozen=True, slots=True)
class WindowUse:
    """One plan window: its newest share, and whether the plan took some of it back."""

    resets_at: float
    share: float
    at: float
    fell: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """One account's windows, oldest first, and the newest figure of each limit by its name."""

    reported_at: float = -math.inf
    five_hour: tuple[WindowUse, ...] = ()
    seven_day: tuple[WindowUse, ...] = ()
    limits: Mapping[str, Figure] = field(default_factory=dict)

    def windows(self, slot: Slot) -> tuple[WindowUse, ...]:
        """Return the windows of one kind."""
        return self.five_hour if slot == "five_hour" else self.seven_day


Accounts = tuple[Account, ...]  # the one that reported last is the last


def figures(status: Mapping[str, object]) -> dict[str, Figure]:
    """Make sense of the limits in a stored statusline; what is absent or garbage is left out."""
    raw = status.get("limits")
    named = {}
    for name, entry in raw.items() if isinstance(raw, dict) else ():
        if not isinstance(entry, list) or len(entry) != 3:  # noqa: PLR2004 - percentage, reset, time
            continue
        used, resets_at, at = share(entry[0]), reset_time(entry[1]), number(entry[2])
        if used is None or at is None or (resets_at is None and (name in LENGTHS or entry[1] is not None)):
            continue
        if resets_at is None or live(resets_at, length_s(name), at):
            named[name] = Figure(used, resets_at, at)
    return named


def enter(accounts: Accounts, news: Iterable[Mapping[str, Figure]]) -> Accounts:
    """Take in statuslines' figures, the oldest first; the same twice, or older ones, change nothing."""
    dated = [(max(figure.at for figure in each.values()), each) for each in news if each]
    for at, each in sorted(dated, key=lambda one: one[0]):
        if any(slot in each for slot in SLOTS) or not accounts or at > accounts[-1].reported_at:
            accounts = _enter(accounts, at, each)  # without a window it can only be of the one that reported last
    return accounts


def _enter(accounts: Accounts, at: float, news: Mapping[str, Figure]) -> Accounts:
    windows = {slot: _window(news[slot]) for slot in SLOTS if slot in news}
    account = _whose(accounts, windows)
    limits = {name: each for name, each in news.items() if each.at > _newest_at(account, name)}
    if not limits and account in accounts:
        return accounts
    changed = replace(
        account,
        reported_at=max(account.reported_at, at),
        limits={**account.limits, **limits},
        **{slot: _entered(account.windows(slot), window) for slot, window in windows.items()},
    )
    others = [each for each in accounts if each is not account]
    return tuple(sorted([*others, changed], key=lambda each: each.reported_at)[-KEPT_ACCOUNTS:])


def _newest_at(account: Account, name: str) -> float:
    return account.limits[name].at if name in account.limits else -math.inf


def _window(figure: Figure) -> WindowUse:
    assert figure.resets_at is not None  # noqa: S101 - `figures` lets no window without one through
    return WindowUse(figure.resets_at, figure.share, figure.at)


def _whose(accounts: Accounts, windows: Mapping[Slot, WindowUse]) -> Account:
    """Return the account that figures belong to: most of its windows are the same, none is in the way."""
    best, most = Account(), -1
    for account in reversed(accounts):  # of several that may be meant, the one that reported last
        fits = [_fits(account.windows(slot), slot, window) for slot, window in windows.items()]
        if None not in fits and (same := fits.count(True)) > most:
            best, most = account, same
    return best


def _fits(windows: tuple[WindowUse, ...], slot: Slot, window: WindowUse) -> bool | None:
    """Return whether an account knows a window (True), may have it (False), or can't (None)."""
    apart = [abs(each.resets_at - window.resets_at) for each in windows]
    if any(each <= SAME_WINDOW_S for each in apart):
        return True
    return None if any(each < LENGTHS[slot] - SAME_WINDOW_S for each in apart) else False


def _entered(windows: tuple[WindowUse, ...], window: WindowUse) -> tuple[WindowUse, ...]:
    kept = []
    for each in windows:
        if not same(each.resets_at, window.resets_at):
            kept.append(each)
        elif each.at >= window.at:
            return windows
        else:
            window = replace(window, fell=each.fell or window.share < each.share - FALL)
    return tuple(sorted([*kept, window], key=lambda each: each.resets_at)[-KEPT_WINDOWS:])


def present(accounts: Accounts, slot: Slot, now: float) -> PlanWindow | None:
    """Return the window that runs now, of the account that reported last; None once it has reset, until newer news."""
    windows = accounts[-1].windows(slot) if accounts else ()
    running = [each for each in windows if live(each.resets_at, LENGTHS[slot], now)]
    return PlanWindow(running[-1].share, running[-1].resets_at) if running else None


def fullest(accounts: Accounts, now: float) -> PlanLimit | None:
    """Return the limit that is used up most, of all that the plan reports."""
    limits = accounts[-1].limits if accounts else {}
    running = [PlanLimit(name, each.share, _ends_at(each)) for name, each in limits.items() if now < _ends_at(each)]
    return max(running, key=lambda limit: (limit.share, limit.name), default=None)


def _ends_at(figure: Figure) -> float:
    return figure.at + UNDATED_S if figure.resets_at is None else figure.resets_at


def due(accounts: Accounts, now: float) -> float | None:
    """Return when the next figure ends."""
    figures_now = accounts[-1].limits.values() if accounts else ()
    return min((ends_at for each in figures_now if (ends_at := _ends_at(each)) > now), default=None)


def to_json(accounts: Accounts) -> dict[str, object]:
    """Return the accounts as plain values for a file."""
    return {
        "accounts": [
            {
                "limits": {name: [100 * each.share, each.resets_at, each.at] for name, each in account.limits.items()},
                **{slot: [[w.resets_at, w.share, w.at, w.fell] for w in account.windows(slot)] for slot in SLOTS},
            }
            for account in accounts
        ]
    }


def from_json(raw: Mapping[str, object]) -> Accounts:
    """Read what `to_json` returned; garbage in it is left out."""
    listed = raw.get("accounts")
    read = [_account(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return tuple(sorted(read, key=lambda each: each.reported_at)[-KEPT_ACCOUNTS:])


def _account(raw: Mapping[str, object]) -> Account:
    limits = figures(raw)
    five_hour, seven_day = (_windows(raw.get(slot)) for slot in SLOTS)
    ats = [*(each.at for each in limits.values()), *(each.at for each in (*five_hour, *seven_day))]
    return Account(max(ats, default=-math.inf), five_hour, seven_day, limits)


def _windows(raw: object) -> tuple[WindowUse, ...]:
    windows: tuple[WindowUse, ...] = ()
    for entry in raw if isinstance(raw, list) else ():
        if not isinstance(entry, list) or len(entry) < 3:  # noqa: PLR2004 - reset, share, time
            continue
        resets_at, used, at = map(number, entry[:3])
        if resets_at is not None and at is not None and used is not None and 0 <= used <= 1:
            windows = _entered(windows, WindowUse(resets_at, used, at, entry[3:] == [True]))
    return windows
