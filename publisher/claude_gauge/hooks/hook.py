"""`claude-gauge hook`: stores the events of Claude Code's hooks, from which the publisher derives `waiting`.

Claude Code waits for it at every tool call, so it imports next to nothing and only appends one record to the
session's file: hooks run side by side, and none reads, changes or replaces what another wrote. It prints nothing and
always ends with 0, since Claude Code acts on a hook's output and exit code.
"""

from __future__ import annotations

import os
import time
from binascii import crc32

from claude_gauge.hooks import quick_json, spool
from claude_gauge.hooks.spool import EVENTS_FILE, HOOKS

# The hook events that `setup` registers for, and for which kinds of them.
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
# Older clients do not name a prompt's source; these are how the client's own prompts begin.
_CLIENT_PROMPTS = ("<task-notification", "<teammate-message", "<channel", "<tick")
_PERSON = ("user", "sdk")
_ASKS = ("PermissionRequest", "Elicitation")
_CLIENTS = ("claude", "node", "bun")  # Claude Code's process, by its name; a shell or wrapper says nothing of it
_OVER = ("completed", "failed", "killed", "stopped", "cancelled")


def run(state_dir: str | None, text: bytes, now: float | None = None) -> None:
    """Store one event. Errors of any kind are dropped, so that Claude Code is never disturbed."""
    now = time.time() if now is None else now
    try:
        event = quick_json.loads(text)
        if isinstance(event, dict):
            folder = f"{spool.state_dir(state_dir)}/{spool.FOLDER}"
            note(event, folder, now, os.environ.get("CLAUDE_CODE_ENTRYPOINT"))
    except Exception:  # noqa: BLE001, S110 - nothing of ours may disturb Claude Code
        pass


def note(event: dict[str, object], folder: str, now: float, entrypoint: str | None = None) -> None:
    """Append the event's record to its session's file; raises OSError and KeyError."""
    if event.get("hook_event_name") not in EVENTS:
        return
    name = spool.safe(event["session_id"]) + EVENTS_FILE
    content = record(event, now, entrypoint)
    if content["event"] in _ASKS and (parent := spool.process(os.getppid())) and parent[0] in _CLIENTS:
        content["process"] = parent[1]  # so that a `kill -9` is noticed
    if content["event"] == "SessionEnd":
        spool.store(folder, name, content)  # all is over: earlier events need not be kept
    else:
        spool.append(folder, name, content)
    if not os.path.exists(f"{folder}/{HOOKS}"):  # noqa: PTH110 - pathlib is slow
        spool.store(folder, HOOKS, {})


def record(event: dict[str, object], now: float, entrypoint: str | None) -> dict[str, object]:
    """Return the stored form of an event: names, ids, a fingerprint and the time; never a text, path or command."""
    kept: dict[str, object] = {"at": now, "event": event["hook_event_name"]}
    if event.get("agent_id"):
        kept["agent"] = spool.safe(event["agent_id"])
    match event["hook_event_name"]:
        case "PermissionRequest" | "PermissionDenied" | "PostToolUse" | "PostToolUseFailure":
            kept["question"] = fingerprint(event.get("tool_name"), event.get("tool_input"))
        case "Elicitation" | "ElicitationResult":
            kept["question"] = fingerprint("elicitation", event.get("mcp_server_name"))
        case "Notification":
            kept["kind"] = spool.safe(event.get("notification_type"))
        case "UserPromptSubmit" if _by_the_client(event):
            kept["client"] = True
        case "Stop" if _runs_on(event.get("background_tasks")):
            kept["background"] = True
    if entrypoint not in (None, "", "cli"):
        kept["outside"] = True  # not in a terminal: what would ask may be denied unasked
    return kept


def fingerprint(name: object, given: object) -> str:
    """Return a hash that is the same for a tool call's request and its end."""
    if isinstance(given, dict):
        given = sorted(given.items())  # at the top; further down the client keeps its order
    return f"{crc32(repr((name, given)).encode('utf-8', 'backslashreplace')):08x}"


def _by_the_client(event: dict[str, object]) -> bool:
    """Return whether the client itself submitted this prompt, such as the news that a background task ended."""
    source = event.get("source")
    if isinstance(source, str):
        return source not in _PERSON
    return str(event.get("prompt", ""))[:200].lstrip().startswith(_CLIENT_PROMPTS)


def _runs_on(tasks: object) -> bool:
    listed = tasks if isinstance(tasks, list) else []
    return any(not isinstance(task, dict) or task.get("status") not in _OVER for task in listed)
