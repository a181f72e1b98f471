"""The small files by which the statusline and the hooks tell the publisher what they saw.

One writer each, replaced whole: terminals never wait for one another, and a killed writer leaves the old file.
They hold plan figures, model, session id, times and the kind of a wait; never a text, never a path.

    plan/<session>.status         the newest statusline of a session
    plan/<session>.<agent>.wait   there while that agent waits for the person
    plan/hooks                    there once a hook has run, so that "nobody waits" is known and not guessed
"""

from __future__ import annotations

import os
import sys

from claude_gauge.hooks import quick_json

FOLDER = "plan"
STATUS = ".status"
WAIT = ".wait"
HOOKS = "hooks"
MAIN = "main"
ANYONE = "anyone"  # a notification does not say which agent asks
_LONGEST_NAME = 64


def state_dir(given: str | None) -> str:
    """Return the state folder: as given, else $CLAUDE_GAUGE_STATE_DIR, else the platform's, as platformdirs has it."""
    named = given or os.environ.get("CLAUDE_GAUGE_STATE_DIR")
    if named:
        return os.path.expanduser(named)  # noqa: PTH111 - pathlib costs milliseconds here
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/claude-gauge")  # noqa: PTH111
    base = os.environ.get("XDG_STATE_HOME", "").strip() or os.path.expanduser("~/.local/state")  # noqa: PTH111
    return os.path.join(base, "claude-gauge")  # noqa: PTH118


def safe(name: object) -> str:
    """Make a session or agent id fit to be part of a file's name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in str(name))
    return kept[:_LONGEST_NAME] or "unknown"


def store(folder: str, name: str, content: object) -> None:
    """Write a file in one step: a reader sees the old one or the new one, also if this process is killed."""
    fresh = f"{folder}/.{name}.{os.getpid()}.tmp"
    try:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except FileNotFoundError:
        os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103 - as above
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        try:
            os.write(file, quick_json.dumps(content).encode())
        finally:
            os.close(file)
        os.replace(fresh, f"{folder}/{name}")  # noqa: PTH105 - as above
    except OSError:
        remove(fresh)  # a full disk: not even the empty file may stay
        raise


def load(path: str) -> dict[str, object]:
    """Read what `store` wrote; {} for a file that is gone or garbage."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            content = quick_json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def remove(path: str) -> None:
    """Delete a file that may be gone already."""
    try:  # noqa: SIM105 - importing contextlib costs milliseconds
        os.unlink(path)  # noqa: PTH108 - as above
    except FileNotFoundError:
        pass
