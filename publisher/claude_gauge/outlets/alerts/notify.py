"""The ways an alert is told on this machine: a desktop notification, and the person's own command."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence

from claude_gauge.errors import GaugeError
from claude_gauge.outlets.alerts.decide import Alert
from claude_gauge.system.child import OURS, Child, without_secrets

log = logging.getLogger(__name__)

COMMAND_S = 30.0
DESKTOP_S = 10.0
# Text goes in as arguments: neither a shell nor AppleScript ever reads it as code.
OSASCRIPT = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"


def split(command: str | None) -> list[str]:
    """Split a command as a shell would, without running one; raises GaugeError for an open quote."""
    try:
        return shlex.split(command or "")
    except ValueError as error:
        raise GaugeError(f"alert_command: {error} in {command!r}; close it") from None


def environment(alert: Alert, environ: Mapping[str, str]) -> dict[str, str]:
    """Give a command the figures as CLAUDE_GAUGE_ALERT_*; settings and secrets are not its business."""
    usage = alert.usage
    figures = {
        "TEXT": alert.text,
        "THRESHOLD": alert.threshold,
        "SHARE": usage.window_5h_pct,
        "PERCENT": round(usage.window_5h_pct * 100),
        "NODE": usage.node,
        "ACCOUNT": usage.account,
        "MODEL": usage.last_model,
        "RESETS_AT": usage.window_5h_resets_at,
        "MINUTES_TO_LIMIT": usage.minutes_to_limit,
        "LIMIT_NAME": usage.limit_name,
        "LIMIT_PCT": usage.limit_pct,
    }
    return without_secrets(environ) | {
        f"{OURS}ALERT_{name}": "" if value is None else str(value) for name, value in figures.items()
    }


def run(command: Sequence[str], alert: Alert) -> None:
    """Run the person's command, if there is one, and say when it failed."""
    if command:
        _run(command, COMMAND_S, environment(alert, os.environ), logging.WARNING)


def notify(alert: Alert) -> None:
    """Show a desktop notification where there is a desktop."""
    title = f"Claude Code on {alert.usage.node}" if alert.usage.node else "Claude Code"
    if shutil.which("osascript"):
        _run(["osascript", "-e", OSASCRIPT, title, alert.text], DESKTOP_S, without_secrets(os.environ), logging.DEBUG)
    elif shutil.which("notify-send"):
        _run(
            ["notify-send", "--app-name=claude-gauge", "--", title, alert.text],
            DESKTOP_S,
            without_secrets(os.environ),
            logging.DEBUG,
        )


def _run(command: Sequence[str], limit_s: float, environ: Mapping[str, str], level: int) -> None:
    """Run it so that all it started ends with it when it takes too long."""
    try:
        finished = Child().run(command, environ, limit_s, mute=True)
    except OSError as error:
        log.log(level, "alert: cannot run %s: %s", command[0], error.strerror)
        return
    if finished.code is None:
        log.log(level, "alert: %s took over %.0f s and was ended", command[0], limit_s)
    elif finished.code:
        log.log(level, "alert: %s ended with %d", command[0], finished.code)
