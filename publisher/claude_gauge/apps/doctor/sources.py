"""Checks of what is read beside the transcripts: statusline and hooks in Claude Code's settings, other sources."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from claude_gauge.apps.doctor.machine import Check, age
from claude_gauge.claude_code.folders import obstacles, project_obstacles, projects, settings_files
from claude_gauge.claude_code.settings_file import backups, read
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.entry import needs, options
from claude_gauge.hooks.hook import EVENTS
from claude_gauge.hooks.spool import FOLDER
from claude_gauge.sources.ccusage.command import CcusageError, find
from claude_gauge.sources.ccusage.mcp_wire import connection
from claude_gauge.sources.ccusage.source import BlockSource, command_line
from claude_gauge.sources.prometheus.client import DEFAULT_URL
from claude_gauge.sources.prometheus.source import RENAME, Prometheus
from claude_gauge.sources.statusline.source import Plan
from claude_gauge.system.http.messages import SERVER
from claude_gauge.system.urls import shown

LINK = "Claude Code"
AGAIN = "`claude-gauge setup` puts it right"


def claude_code(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Check the settings of each of Claude Code's config folders, and whether their entries were run."""
    for path in settings_files(environ):
        if not path.parent.exists():
            yield Check(LINK, "off", f"{path.parent} is not there: nothing to set up")
            continue
        try:
            content = read(path)
        except GaugeError as error:
            yield Check(LINK, "fail", str(error), "Claude Code reads none of its settings from it, either")
            continue
        if not is_set_up(content):
            found = f"{path} does not call us: no plan figures, no `waiting`"
            yield Check(LINK, "off", found, "`claude-gauge setup`")
            continue
        troubles = [*_entries(path, content, settings), *_effect(path, settings)]
        yield from troubles or [Check(LINK, "ok", f"statusline and hooks are in {path}")]


def is_set_up(content: Mapping[str, Any]) -> bool:
    """Return whether these settings have a statusline or hook of claude-gauge."""
    return any(_ours(content))


def _entries(path: Path, content: Mapping[str, Any], settings: Settings) -> Iterator[Check]:
    """Check our commands in the file: their program exists, their state folder is the configured one."""
    ours = list(_ours(content))
    gone = [file for command, _ in ours for file in needs(command) if not _there(file)]
    if gone:
        found = f"{path} calls {gone[0]}, which is not there: no plan figures, no `waiting`"
        yield Check(LINK, "warn", found, AGAIN)
        return
    if any(len(needs(command)) == 1 for command, _ in ours) or len(ours) > len(EVENTS) + 1:
        yield Check(LINK, "warn", f"{path} has entries of an older version", "`claude-gauge setup` renews them")
    wanted = str(settings.state_dir.expanduser().absolute())
    other = [folder for _, given in ours if (folder := given.get("--state-dir", wanted)) != wanted]
    if other:
        yield Check(LINK, "warn", f"{path} writes to {other[0]}, the publisher reads {wanted}", AGAIN)
    if len([command for command, _ in ours if options(command, "hook") is not None]) < len(EVENTS):
        yield Check(LINK, "warn", f"{path} calls us for {len(ours)} of {1 + len(EVENTS)} things", AGAIN)
    if options(_statusline(content), "statusline") is None:
        there = "no statusline" if _statusline(content) is None else "another statusline in place of ours"
        advice = "`claude-gauge setup` puts ours in, and lets that one run on; leave it if you want no plan figures"
        yield Check(LINK, "warn", f"{path} has {there}: no plan figures", advice)


def _effect(path: Path, settings: Settings) -> Iterator[Check]:
    """Check for settings that switch our entries off, and whether Claude Code ran them."""
    root = path.parent / "projects"
    switched_off = list(obstacles(path))
    for each in (*switched_off, *project_obstacles(projects(root, Path.cwd()), path)):
        yield Check(LINK, "warn", each.problem, each.advice)
    folder = settings.state_dir.expanduser() / FOLDER
    since, ran, called = _set_up_at(path), _newest(root.glob("*/*.jsonl")), _newest(folder.glob("*"))
    trouble = _unwritable(folder)
    if trouble:
        advice = "make it writable for the user that runs Claude Code, or set another CLAUDE_GAUGE_STATE_DIR"
        yield Check(LINK, "warn", f"nothing can be written to {folder}: {trouble}", advice)
    elif not switched_off and since is not None and called < since < ran:
        yield Check(
            LINK, "warn", f"set up, and a session ran {age(ran - since)} later, but it never called us",
            "start running sessions again; say yes where Claude Code asks whether you trust the folder; "
            "`claude --debug` shows what it runs",
        )  # fmt: skip


def _unwritable(folder: Path) -> str | None:
    """Return why nothing can be written into a folder; one that is not there yet is made by the first call."""
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        return error.strerror
    return None


def _set_up_at(settings: Path) -> float | None:
    """Return when setup wrote: the newest backup's time, else the file's own."""
    try:
        return max(path.stat().st_mtime for path in (backups(settings) or [settings]))
    except FileNotFoundError:
        return None


def _newest(paths: Iterator[Path]) -> float:
    """Return the newest file's time; 0 where there is none."""
    times = [0.0]
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue  # gone meanwhile
    return max(times)


def _there(file: str) -> bool:
    return Path(file).exists() if Path(file).is_absolute() else shutil.which(file) is not None


def _statusline(content: Mapping[str, Any]) -> object:
    line = content.get("statusLine")
    return line.get("command") if isinstance(line, dict) else None


def _ours(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield our commands in these settings, with their options."""
    commands = [(_statusline(content), "statusline"), *((command, "hook") for command in _hooks(content))]
    for command, name in commands:
        given = options(command, name)
        if given is not None:
            yield str(command), given


def _hooks(content: Mapping[str, Any]) -> Iterator[object]:
    hooks = content.get("hooks")
    for groups in (hooks if isinstance(hooks, dict) else {}).values():
        for group in groups if isinstance(groups, list) else []:
            entries = group.get("hooks") if isinstance(group, dict) else None
            yield from (each.get("command") for each in entries or [] if isinstance(each, dict))


def plan(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Check whether the statusline has reported the plan's own figures."""
    source = Plan(settings)
    source.load()
    reading = source.read(time.time())
    ask = "ask Claude Code something: its plan figures come with the answer, for Pro and Max"
    if reading.plan_5h is not None:
        yield Check("plan figures", "ok", f"{reading.plan_5h.share:.0%} of the 5-hour window, reported by Claude Code")
    elif "plan" in reading.sources:
        yield Check("plan figures", "ok", "none for now: fuel is tokens / ceiling", ask)
    elif any(_set_up(path) for path in settings_files(environ)):
        yield Check("plan figures", "off", "set up, nothing reported yet: fuel is tokens / ceiling", ask)
    else:
        here = any(path.parent.exists() for path in settings_files(environ))
        advice = "`claude-gauge setup`" if here else ""
        yield Check("plan figures", "off", "not reported: fuel is tokens / ceiling", advice)


def _set_up(path: Path) -> bool:
    try:
        return is_set_up(read(path))
    except GaugeError:
        return False  # reported by the check of Claude Code's settings


def prometheus(settings: Settings) -> Iterator[Check]:
    """Ask Prometheus one round of questions."""
    if settings.prometheus is None and settings.source != "prometheus":
        return
    url = shown(settings.prometheus) if settings.prometheus else f"{DEFAULT_URL} (none is named)"
    source = Prometheus(settings)
    source.load()
    health = source.read(time.time()).sources["tach"]
    if health.ok:
        yield Check("Prometheus", "ok", f"{url} knows Claude Code's tokens")
        return
    why = str(health.why)
    advice = next((advice for sign, advice in _PROMETHEUS if sign in why), "check --prometheus and what it serves")
    yield Check("Prometheus", "warn" if health.degraded else "fail", f"{url}: {why}", advice)


_TELEMETRY = "`claude-gauge otel install` lets Claude Code send them; then ask it something, and wait a minute"
_PROMETHEUS = (
    ("refused", "start it, or correct host and port of --prometheus"),
    ("name not found", "correct the host's name in --prometheus"),
    ("TLS", "name the CA that signed its certificate with --prometheus-ca"),
    ("no answer", "is it overloaded, or does a firewall stand between?"),
    ("HTML", "that is a web page: give the base URL of Prometheus's API"),
    ("404", "give the base URL, without /api/v1; engines of several tenants need a path"),
    ("credentials", "check --prometheus-user with CLAUDE_GAUGE_PROMETHEUS_PASSWORD, or --prometheus-token-file"),
    ("not allowed", "let this user query; engines of several tenants need CLAUDE_GAUGE_PROMETHEUS_HEADERS"),
    ("token file", "check --prometheus-token-file and who may read it"),
    ("prometheus_ca", "check --prometheus-ca and who may read it"),
    ("too many", "raise --prometheus-interval"),
    ("match", "correct --prometheus-match: no series has these labels"),
    ("no Claude Code metrics", _TELEMETRY),
    ("no tokens", _TELEMETRY),
    ("found as", RENAME),
)


def ccusage(settings: Settings) -> Iterator[Check]:
    """Ask ccusage for the present block, where it was named or the chosen source takes the fuel from it."""
    by_itself = settings.source == "hybrid" and settings.prometheus is None and settings.otlp is None and _installed()
    if settings.source == "ccusage" or settings.ccusage is not None or by_itself:
        yield _asked("ccusage", lambda: command_line(settings, download=settings.source == "ccusage"))
    if settings.source == "ccusage-mcp" or settings.ccusage_mcp is not None:
        yield _asked("ccusage MCP", lambda: connection(settings))


def _installed() -> bool:
    try:
        find(None, os.environ, download=False)
    except CcusageError:
        return False
    return True


def _asked(link: str, connect: Callable[[], BlockSource]) -> Check:
    try:
        asked = connect()
        try:
            return Check(link, "ok", f"answers: {asked.block().tokens:,} tokens in the present block")
        finally:
            asked.stop()
    except CcusageError as error:
        found, _, advice = str(error).partition("; ")
        return Check(link, "fail", found, advice or "run it by hand to see more")


def otlp(settings: Settings) -> Iterator[Check]:
    """Check who holds the OTLP port, if a source receives OTLP."""
    if not settings.receives_otlp:
        if settings.otlp not in {None, "off"}:
            yield Check("OTLP", "off", f"source {settings.source} does not receive at {settings.otlp}")
        return
    path = f"http://{settings.otlp_address}/v1/logs"
    try:
        answer = httpx.get(path, timeout=2, trust_env=False)
        ours = answer.headers.get("Server", "").startswith(SERVER)
    except httpx.ConnectError:
        yield Check("OTLP", "ok", f"{settings.otlp_address} is free: the publisher will listen there")
        return
    except httpx.HTTPError:
        ours = False
    if ours:
        yield Check("OTLP", "ok", f"a publisher listens at {settings.otlp_address}")
    else:
        advice = "is it a collector? choose another address with --otlp, and give it to `claude-gauge otel env`"
        yield Check("OTLP", "fail", f"something else listens at {settings.otlp_address}", advice)
