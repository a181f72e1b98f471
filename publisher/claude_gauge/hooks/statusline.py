"""`claude-gauge statusline`: stores the plan's limits for the publisher, then runs the person's own statusline.

Claude Code waits for it at every turn and cancels it when slow: it imports next to nothing, writes
first, and then becomes the person's own command, so that its output, exit code and end are that command's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum: milliseconds
import fcntl
import math
import os
import time

from claude_gauge.hooks import quick_json, spool
from claude_gauge.hooks.spool import STATUS

FIVE_HOURS_S = 5 * 3600.0
SEVEN_DAYS_S = 7 * 86400.0
LENGTHS = {"five_hour": FIVE_HOURS_S, "seven_day": SEVEN_DAYS_S}
_OTHER_S = 400 * 86400.0  # a limit of an unknown period: a year's is the longest that makes sense
SLACK_S = 15 * 60.0  # how far this machine's clock may be behind the plan's
_FULL = 100.0
_NO_PERCENTAGE = 1000.0  # beyond this it is some other figure; up to it, a plan that was overdrawn
_MILLISECONDS = 1e11


def length_s(limit: str) -> float:
    """Return how long a limit's window is at most, by its name: `seven_day_opus` is one of seven days."""
    return next((length for name, length in LENGTHS.items() if limit.startswith(name)), _OTHER_S)


def percentage(figures: object) -> object:
    """Return the raw percentage of one of `rate_limits`; where it has amounts alone, computed from them."""
    if not isinstance(figures, dict):
        return None
    used, whole = number(figures.get("used_usd")), number(figures.get("limit_usd"))
    if figures.get("used_percentage") is None and used is not None and whole:
        return 100 * used / whole
    value: object = figures.get("used_percentage")
    return value


def share(percents: object) -> float | None:
    """Return `used_percentage` as a share of 1, cut at full; None for what is no percentage."""
    used = number(percents)
    if used is None or not 0 <= used < _NO_PERCENTAGE:
        return None
    return min(used, _FULL) / _FULL


def reset_time(value: object) -> float | None:
    """Return `resets_at` in epoch seconds, whether it came as seconds, milliseconds or ISO 8601."""
    at = number(value)
    if at is None and isinstance(value, str):
        at = _from_iso(value)
    if at is None or at <= 0:
        return None
    return at / 1000 if at > _MILLISECONDS else at


def live(resets_at: float, length_s: float, now: float) -> bool:
    """Return whether a window can be the present one: its reset is in the future, by no more than its length."""
    return now < resets_at <= now + length_s + SLACK_S


def number(value: object) -> float | None:
    """Return a finite number as it came or from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _from_iso(text: str) -> float | None:
    from datetime import UTC, datetime  # noqa: PLC0415 - seldom needed, and slow to import

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_LONGEST_FIGURE, _LONGEST_NAME, _MOST_LIMITS = 40, 40, 20
_KEPT_MARKS = 16
_BAR = 10


def run(state_dir: str | None, then: str | None, text: bytes, now: float | None = None) -> int:
    """Store the figures of one statusline call, then run `then` in our place, or print a line of ours."""
    now = time.time() if now is None else now
    status: dict[str, object] = {}
    trouble = ""
    try:
        given = quick_json.loads(text)
        status = given if isinstance(given, dict) else {}
        store(status, f"{spool.state_dir(state_dir)}/{spool.FOLDER}", now)
    except OSError as error:
        trouble = f"claude-gauge cannot write: {error.strerror}"
    except Exception:  # noqa: BLE001, S110 - whatever is wrong with it, the line must come
        pass
    if then:
        become(then, text)
    try:  # noqa: SIM105 - importing contextlib costs milliseconds
        os.write(1, (line(status, now, trouble) + "\n").encode("utf-8", "replace"))
    except Exception:  # noqa: BLE001, S110 - an empty line is better than an error in its place
        pass
    return 0


def store(status: dict[str, object], folder: str, now: float) -> None:
    """Keep the plan's raw figures, the model and the time, in a file of this session's own; raises OSError, KeyError.

    A terminal repeats its figures for hours. They are new when its session has used the API since it last reported
    them: only then do they get this time, else the stored ones stay as they are.
    """
    name = spool.safe(status["session_id"]) + STATUS
    stored = spool.load(f"{folder}/{name}")
    limits, marks = stored.get("limits"), stored.get("marks")
    if not isinstance(limits, dict) or not isinstance(marks, list):
        limits, marks = {}, []  # a new session, or the file is damaged
    figures = _limits(status)
    if figures:
        mark = _mark(status, figures)
        # A session's first figures may be old: perhaps it has been idle since before we were set up.
        at = now if limits else min(now, _touched(status) or now)
        if not _repeated(marks, mark):
            limits = {**limits, **{limit: [*figure, at] for limit, figure in figures.items()}}
            marks = [*marks, mark][-_KEPT_MARKS:]
    model, session = _figure(_within(status, "model", "id")), str(status["session_id"])[:64]
    spool.store(folder, name, {"at": now, "session": session, "model": model, "marks": marks, "limits": limits})


def _limits(status: dict[str, object]) -> dict[str, list[object]]:
    """Return the raw percentage and reset time of every limit that is reported."""
    limits = status.get("rate_limits")
    return {
        spool.safe(name)[:_LONGEST_NAME]: [_figure(percentage(limit)), _figure(limit.get("resets_at"))]
        for name, limit in (list(limits.items())[:_MOST_LIMITS] if isinstance(limits, dict) else ())
        if isinstance(limit, dict)
    }


def _mark(status: dict[str, object], figures: dict[str, list[object]]) -> list[object]:
    """Return what changes when a session uses the API: its API time, else its transcript's; and the percentages."""
    spent, touched = number(_within(status, "cost", "total_api_duration_ms")), None
    if spent is None:
        touched = _touched(status)
    return [spent, touched, *[[limit, *figure] for limit, figure in sorted(figures.items())]]


def _repeated(marks: list[object], mark: list[object]) -> bool:
    """Return whether a session reported this before; without a mark, whether its last report was the same."""
    marked = mark[:2] != [None, None]
    return any(_alike(old, mark, resets=not marked) for old in (marks if marked else marks[-1:]))


def _alike(old: object, new: list[object], *, resets: bool) -> bool:
    if not isinstance(old, list) or len(old) != len(new) or old[:2] != new[:2]:
        return False
    pairs = list(zip(old[2:], new[2:], strict=True))
    return all(was[:2] == now[:2] and (not resets or _one_window(was[2], now[2])) for was, now in pairs)  # type: ignore[index]


def _one_window(old: object, new: object) -> bool:
    """Return whether two reset times are of one window: they differ by minutes from answer to answer."""
    before, after = reset_time(old), reset_time(new)
    return before == after if before is None or after is None else abs(before - after) <= SLACK_S


def _touched(status: dict[str, object]) -> float | None:
    """Return when the session's transcript was last written; None where there is none."""
    path = status.get("transcript_path")
    try:
        return os.stat(path).st_mtime if isinstance(path, str) and path else None  # noqa: PTH116 - pathlib is slow
    except (OSError, ValueError):
        return None


def become(command: str, text: bytes) -> None:
    """Turn this process into a shell that runs `command` with `text` as its input; does not return.

    What Python changed is undone first: the signals it ignores, the locale it may have put into the environment.
    """
    try:  # noqa: SIM105 - as above
        feed(text)
    except OSError:  # no pipe is to be had: it runs without its input
        pass
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(ignored, _signal.SIG_DFL)
    if "LC_CTYPE" in os.environ and not _given("LC_CTYPE"):
        del os.environ["LC_CTYPE"]
    os.execv("/bin/sh", ["sh", "-c", command])  # noqa: S606 - as Claude Code itself would have run it


def feed(text: bytes) -> None:
    """Put `text` into a pipe as standard input; a child feeds what no pipe can hold."""
    reader, writer = os.pipe()
    large = len(text) > _room(writer)
    if large and os.fork() == 0:
        os.close(reader)
        try:
            _write_all(writer, text)
        finally:
            os._exit(0)
    if not large:
        _write_all(writer, text)
    os.close(writer)
    os.dup2(reader, 0)


def line(status: dict[str, object], now: float, trouble: str = "") -> str:
    """Write a statusline of our own: model, the two windows, how full the context is, what went wrong."""
    parts = [str(_within(status, "model", "display_name") or _within(status, "model", "id") or "Claude")]
    for slot, label in (("five_hour", "5h"), ("seven_day", "7d")):
        used = share(percentage(_within(status, "rate_limits", slot)))
        resets_at = reset_time(_within(status, "rate_limits", slot, "resets_at"))
        if used is not None and resets_at is not None and live(resets_at, LENGTHS[slot], now):
            parts.append(f"{label} {_bar(used)} {used:.0%}, {_span(resets_at - now)} left")
    context = share(_within(status, "context_window", "used_percentage"))
    if context is not None:
        parts.append(f"context {context:.0%}")
    if trouble:
        parts.append(trouble)
    shown = " · ".join(" ".join(part.split()) for part in parts)
    return "".join(each if each.isprintable() else "?" for each in shown)  # a name may hold anything


def _within(status: object, *path: str) -> object:
    for name in path:
        status = status.get(name) if isinstance(status, dict) else None
    return status


def _figure(value: object) -> object:
    """Keep numbers and short strings, which the publisher parses; drop longer texts."""
    return (
        value if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST_FIGURE) else None
    )


def _bar(used: float) -> str:
    filled = round(used * _BAR)
    return "▰" * filled + "▱" * (_BAR - filled)


def _span(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _room(pipe: int) -> int:
    try:
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    except (AttributeError, OSError):
        return 4096  # the smallest buffer of a pipe in use


def _given(name: str) -> bool:
    """Return whether a variable was there when this process began, where that can be known."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib is slow
            return any(entry.startswith(f"{name}=".encode()) for entry in file.read().split(b"\0"))
    except OSError:
        return True


def _write_all(pipe: int, text: bytes) -> None:
    while text:
        text = text[os.write(pipe, text) :]
