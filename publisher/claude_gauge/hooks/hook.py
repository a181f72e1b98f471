"""`claude-gauge hook`: tells the publisher that Claude waits for the person, or no longer does.

Runs at every tool call, so it imports next to nothing; it says nothing and always ends with 0,
since Claude Code takes a hook's output and exit code for orders.
"""

from __future__ import annotations

import os
import time

from claude_gauge.hooks import quick_json, spool
from claude_gauge.hooks.spool import ANYONE, HOOKS, MAIN, WAIT

# What `setup` asks Claude Code to tell us, and for which kinds of it.
DIALOGS = ("permission_prompt", "worker_permission_prompt", "elicitation_dialog", "elicitation_url_dialog")
EVENTS = {
    "SessionStart": "startup|resume",
    "UserPromptSubmit": None,
    "PermissionRequest": None,
    "PermissionDenied": None,
    "Elicitation": None,
    "ElicitationResult": None,
    "Notification": "|".join((*DIALOGS, "agent_needs_input", "idle_prompt")),
    "PostToolUse": None,
    "PostToolUseFailure": None,
    "PostToolBatch": None,
    "SubagentStop": None,
    "Stop": None,
    "SessionEnd": None,
}


def run(state_dir: str | None, text: bytes, now: float | None = None) -> None:
    """Take in one event; whatever is wrong with it or with the disk, Claude Code goes on undisturbed."""
    try:
        event = quick_json.loads(text)
        folder = f"{spool.state_dir(state_dir)}/{spool.FOLDER}"
        if isinstance(event, dict):
            note(event, folder, time.time() if now is None else now)
    except Exception:  # noqa: BLE001, S110 - nothing of ours may disturb Claude Code
        pass


def note(event: dict[str, object], folder: str, now: float) -> None:
    """Write or remove the wait that an event begins or ends."""
    session = spool.safe(event["session_id"])
    agent = spool.safe(event.get("agent_id") or MAIN)
    _mark(folder)
    match event.get("hook_event_name"), event.get("notification_type"):
        case "PermissionRequest", _:
            _begin(folder, session, agent, "permission", now)
        case "Notification", kind if kind in DIALOGS:
            if not waits(folder, session):  # else it only repeats, seconds later, what is known
                _begin(folder, session, ANYONE, "permission", now)
        case "Notification", "idle_prompt":
            _begin(folder, session, ANYONE, "idle", now)
        case (("PreToolUse" | "PostToolUse" | "SubagentStop"), _):
            # Other agents of the session work on while one waits: their events say nothing of it.
            _end(folder, [f"{session}.{agent}{WAIT}", f"{session}.{ANYONE}{WAIT}"])
        case "Stop", _ if event.get("background_tasks"):
            pass  # not the end: one of them may be the one that waits
        case (("UserPromptSubmit" | "Stop" | "SessionEnd"), _):
            _end(folder, waits(folder, session))


def waits(folder: str, session: str) -> list[str]:
    """List the files of a session's waits."""
    return [name for name in os.listdir(folder) if name.startswith(session + ".") and name.endswith(WAIT)]  # noqa: PTH208 - pathlib is slow


def _begin(folder: str, session: str, agent: str, kind: str, now: float) -> None:
    spool.store(folder, f"{session}.{agent}{WAIT}", {"at": now, "kind": kind})


def _end(folder: str, names: list[str]) -> None:
    for name in names:
        spool.remove(f"{folder}/{name}")


def _mark(folder: str) -> None:
    if not os.path.exists(f"{folder}/{HOOKS}"):  # noqa: PTH110 - pathlib is slow
        spool.store(folder, HOOKS, {})
