"""The outlet for alerts: decides in the caller's thread, sends (desktop, MQTT, command) in its own."""

from __future__ import annotations

import json
import logging
import os
import queue
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from claude_gauge.config import Settings
from claude_gauge.contract.usage import ALERT_EVENT, Usage, alert_topic, stamp
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.alerts.decide import Alert, Fired, Memory, decide, decide_limit
from claude_gauge.system.child import OURS, Child, without_secrets

log = logging.getLogger(__name__)

COMMAND_S = 30.0
DESKTOP_S = 10.0
# Text goes in as arguments: neither a shell nor AppleScript ever reads it as code.
OSASCRIPT = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"


def environment(alert: Alert, environ: Mapping[str, str]) -> dict[str, str]:
    """Return a command's environment: the figures as CLAUDE_GAUGE_ALERT_*, without settings and secrets."""
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


RETRY_S = 1.0
BROKER_S = 600.0  # later than this an alert is no news


class Alerts:
    """Call it with each payload; a slow command or an absent broker never holds the publisher up."""

    def __init__(self, settings: Settings, link: Link, *, clock: Callable[[], float] = time.time) -> None:
        self._thresholds, self._command = settings.alerts, shlex.split(settings.alert_command or "")
        self._memory = Memory(settings.state_dir, settings.node)
        self._fired: Fired | None = None
        self._limits: Mapping[str, float] = {}
        self._topic, self._link, self._clock = alert_topic(settings.node), link, clock
        self._alerts: queue.SimpleQueue[Alert | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read what was sent before."""
        if self._thresholds:
            self._fired, self._limits = self._memory.load(self._clock()), self._memory.load_limits()

    def __call__(self, usage: Usage, _payload: bytes) -> None:
        """Take a payload; send an alert if it passed a threshold for the first time in its window."""
        if not self._thresholds:
            return
        now = self._clock()
        alert, fired = decide(usage, self._thresholds, self._fired, now)
        if fired is not None and fired != self._fired:
            self._memory.save(fired)  # saved before it is sent: a crash in between must not send it twice
        limit_alert, limits = decide_limit(usage, self._thresholds, self._limits, now)
        if limits != self._limits:
            self._memory.save_limits(limits)
        self._fired, self._limits = fired, limits
        for each in filter(None, (alert, limit_alert)):
            self._put(each)

    def _put(self, alert: Alert) -> None:
        log.info("alert: %s", alert.text)
        self._thread = self._thread or self._started()
        self._alerts.put(alert)

    def stop(self) -> None:
        """End the thread; a notification that is under way is not waited for."""
        self._stopping.set()
        self._alerts.put(None)

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._send_all, name="alerts", daemon=True)
        thread.start()
        return thread

    def _send_all(self) -> None:
        while (alert := self._alerts.get()) is not None:
            threading.Thread(target=self._publish, args=(alert,), name="alert", daemon=True).start()
            notify(alert)
            run(self._command, alert)

    def _publish(self, alert: Alert) -> None:
        """Publish it on the topic, once, as soon as there is a broker: not retained, for it is an event."""
        payload = to_json(alert)
        end = time.monotonic() + BROKER_S
        while not self._link.send(self._topic, payload, qos=1) and time.monotonic() < end:
            if self._stopping.wait(RETRY_S):
                return


def to_json(alert: Alert) -> bytes:
    """Write an alert as its topic carries it."""
    usage = alert.usage
    return json.dumps(
        {
            "event_type": ALERT_EVENT,
            "threshold": alert.threshold,
            "window_5h_pct": usage.window_5h_pct,
            "window_5h_resets_at": usage.window_5h_resets_at,
            "minutes_to_limit": usage.minutes_to_limit,
            "limit_name": usage.limit_name,
            "limit_pct": usage.limit_pct,
            "text": alert.text,
            "node": usage.node,
            "at": stamp(alert.at),
        }
    ).encode()
