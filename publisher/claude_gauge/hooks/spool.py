"""The files in `<state>/plan/` through which the statusline and the hooks pass figures and events to the publisher.

They hold plan figures, model, session id, times, names of events and fingerprints; never a text, never a path.

    <session>.status   the newest statusline of a session: one JSON object, replaced whole
    <session>.events   the events of its hooks: one JSON object per line, appended, so that parallel hooks lose nothing
    hooks              there once a hook has run, so that "nobody waits" is certain
"""

from __future__ import annotations

import os
import sys

from claude_gauge.hooks import quick_json

FOLDER = "plan"
STATUS = ".status"
EVENTS_FILE = ".events"
HOOKS = "hooks"
_LONGEST_NAME = 64
_MOST_BYTES = 1 << 24
_START = 19  # of the fields behind the name in /proc/<pid>/stat
_ENDED = (b"Z", b"X")


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
    file = _open(folder, fresh, os.O_TRUNC)
    try:
        try:
            os.write(file, quick_json.dumps(content).encode())
        finally:
            os.close(file)
        os.replace(fresh, f"{folder}/{name}")  # noqa: PTH105 - as above
    except OSError:
        remove(fresh)  # a full disk: not even the empty file may stay
        raise


def append(folder: str, name: str, content: object) -> None:
    """Add a line to a file in one write, which the system keeps apart from what other processes add at the time.

    The line feed before it ends what a full disk may have left there half written.
    """
    file = _open(folder, f"{folder}/{name}", os.O_APPEND)
    try:
        os.write(file, f"\n{quick_json.dumps(content)}\n".encode())
    finally:
        os.close(file)


def _open(folder: str, path: str, how: int) -> int:
    how |= os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK  # a pipe in its place must not hold Claude Code up
    try:
        return os.open(path, how, 0o600)
    except FileNotFoundError:
        os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103 - as above
        return os.open(path, how, 0o600)


def at_once(path: str, how: int) -> int:
    """Open a file as `open` is to do it: it never waits for a pipe's other end."""
    return os.open(path, how | os.O_NONBLOCK)


def load(path: str) -> dict[str, object]:
    """Read what `store` wrote; {} for a file that is gone or garbage."""
    try:
        with open(path, "rb", opener=at_once) as file:
            content = quick_json.loads(file.read(_MOST_BYTES) or b"")
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def process(pid: int) -> tuple[str, list[object]] | None:
    """Return a process's name and its identity: pid, start, pid namespace.

    None for one that has ended (a zombie too), and without /proc.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            name, _, rest = file.read().partition(b"(")[2].rpartition(b") ")
        fields = rest.split()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - as above
        return None if fields[0] in _ENDED else (name.decode("ascii", "replace"), [pid, int(fields[_START]), namespace])
    except (OSError, ValueError, IndexError):
        return None


def remove(path: str) -> None:
    """Delete a file that may be gone already."""
    try:  # noqa: SIM105 - importing contextlib costs milliseconds
        os.unlink(path)  # noqa: PTH108 - as above
    except FileNotFoundError:
        pass
