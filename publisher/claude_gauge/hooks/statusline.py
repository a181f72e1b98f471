"""`claude-gauge statusline`: hands the plan's figures to the publisher, then makes way for the person's own statusline.

Claude Code waits for it at every turn and cancels it when slow: it imports next to nothing, writes
first, and then becomes the person's own command, so that its output, exit code and end are that command's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum: milliseconds
import fcntl
import os
import time

from claude_gauge.hooks import quick_json, spool
from claude_gauge.hooks.limits import LENGTHS, live, reset_time, share
from claude_gauge.hooks.spool import STATUS

_LONGEST_FIGURE = 40
_BAR = 10


def run(state_dir: str | None, then: str | None, text: bytes, now: float | None = None) -> int:
    """Store what one statusline call tells, then run `then` in our place, or print a line of ours."""
    now = time.time() if now is None else now
    status: dict[str, object] = {}
    try:
        given = quick_json.loads(text)
        status = given if isinstance(given, dict) else {}
        store(status, f"{spool.state_dir(state_dir)}/{spool.FOLDER}", now)
    except Exception:  # noqa: BLE001, S110 - whatever is wrong with it or with the disk, the line must come
        pass
    if then:
        become(then, text)
    try:  # noqa: SIM105 - importing contextlib costs milliseconds
        os.write(1, (line(status, now) + "\n").encode("utf-8", "replace"))
    except Exception:  # noqa: BLE001, S110 - an empty line is better than an error in its place
        pass
    return 0


def store(status: dict[str, object], folder: str, now: float) -> None:
    """Keep the plan's raw figures, the model and the time, in a file of this session's own."""
    name = spool.safe(status["session_id"]) + STATUS
    known = spool.load(f"{folder}/{name}")
    slots = {slot: known[slot] for slot in LENGTHS if slot in known}  # a call without figures takes none back
    for slot in LENGTHS:
        figures = _within(status, "rate_limits", slot)
        if isinstance(figures, dict):
            slots[slot] = [_figure(figures.get("used_percentage")), _figure(figures.get("resets_at")), now]
    model = _figure(_within(status, "model", "id"))
    spool.store(folder, name, {"at": now, "session": str(status["session_id"])[:64], "model": model, **slots})


def become(command: str, text: bytes) -> None:
    """Turn this process into a shell that runs `command` with `text` as its input; does not return.

    Python's own traces are wiped off first: the signals it ignores, the locale it may have put into the environment.
    """
    try:  # noqa: SIM105 - as above
        feed(text)
    except OSError:  # no pipe is to be had: it runs without its input
        pass
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
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


def line(status: dict[str, object], now: float) -> str:
    """Write a statusline of our own: model, the two windows, how full the context is."""
    parts = [str(_within(status, "model", "display_name") or _within(status, "model", "id") or "Claude")]
    for slot, label in (("five_hour", "5h"), ("seven_day", "7d")):
        used = share(_within(status, "rate_limits", slot, "used_percentage"))
        resets_at = reset_time(_within(status, "rate_limits", slot, "resets_at"))
        if used is not None and resets_at is not None and live(resets_at, LENGTHS[slot], now):
            parts.append(f"{label} {_bar(used)} {used:.0%}, {_span(resets_at - now)} left")
    context = share(_within(status, "context_window", "used_percentage"))
    if context is not None:
        parts.append(f"context {context:.0%}")
    return " · ".join(" ".join(part.split()) for part in parts)


def _within(status: object, *path: str) -> object:
    for name in path:
        status = status.get(name) if isinstance(status, dict) else None
    return status


def _figure(value: object) -> object:
    """Let numbers and short strings through: sense is made of them by the publisher, texts are not kept."""
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
        return 4096  # what POSIX promises to take without waiting, give or take


def _given(name: str) -> bool:
    """Tell whether a variable was there when this process began, where that can be known."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib is slow
            return any(entry.startswith(f"{name}=".encode()) for entry in file.read().split(b"\0"))
    except OSError:
        return True


def _write_all(pipe: int, text: bytes) -> None:
    while text:
        text = text[os.write(pipe, text) :]
