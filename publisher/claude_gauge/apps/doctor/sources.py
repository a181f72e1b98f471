"""The sources beside the transcripts, where they are configured: each is asked once, as the publisher asks it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx

from claude_gauge.apps.doctor.claude_code import is_set_up
from claude_gauge.apps.doctor.machine import Check
from claude_gauge.claude_code.folders import settings_files
from claude_gauge.claude_code.settings_file import read
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.sources.ccusage.command import CcusageError
from claude_gauge.sources.ccusage.mcp_wire import connection
from claude_gauge.sources.ccusage.source import Asked, command_line
from claude_gauge.sources.prometheus.source import RENAME, Prometheus
from claude_gauge.sources.statusline.source import Plan
from claude_gauge.system.http.messages import SERVER


def plan(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Check whether the statusline has reported the plan's own figures."""
    source = Plan(settings)
    source.load()
    reading = source.read(time.time())
    ask = "ask Claude Code something: its plan figures come with the answer, for Pro and Max"
    if reading.plan_5h is not None:
        yield Check("plan figures", "ok", f"{reading.plan_5h.share:.0%} of the 5-hour window, told by Claude Code")
    elif "plan" in reading.sources:
        yield Check("plan figures", "ok", "none for now: fuel is tokens / ceiling", ask)
    elif any(_set_up(path) for path in settings_files(environ)):
        yield Check("plan figures", "off", "set up, nothing handed over yet: fuel is tokens / ceiling", ask)
    else:
        yield Check("plan figures", "off", "not handed over: fuel is tokens / ceiling", "`claude-gauge setup`")


def _set_up(path: Path) -> bool:
    try:
        return is_set_up(read(path))
    except GaugeError:
        return False  # told where Claude Code's settings are looked at


def prometheus(settings: Settings) -> Iterator[Check]:
    """Ask Prometheus one round of questions."""
    if settings.prometheus is None and settings.source != "prometheus":
        return
    url = settings.prometheus or f"{DEFAULT_URL} (none is named)"
    source = Prometheus(settings)
    source.load()
    health = source.read(time.time()).sources["tach"]
    if health.ok:
        yield Check("Prometheus", "ok", f"{url} knows Claude Code's tokens")
        return
    why = str(health.why)
    advice = next((advice for sign, advice in _PROMETHEUS if sign in why), "check --prometheus and what it serves")
    yield Check("Prometheus", "warn" if health.degraded else "fail", f"{url}: {why}", advice)


DEFAULT_URL = "http://127.0.0.1:9090"
_TELEMETRY = "`claude-gauge otel install` lets Claude Code send them; then ask it something, and wait a minute"
_PROMETHEUS = (
    ("refused", "start it, or mend host and port of --prometheus"),
    ("name not found", "mend the host's name in --prometheus"),
    ("TLS", "name the CA that signed its certificate with --prometheus-ca"),
    ("no answer", "is it overloaded, or does a firewall stand between?"),
    ("HTML", "that is a web page: give the base URL of Prometheus's API"),
    ("404", "give the base URL, without /api/v1; engines of several tenants need a path"),
    ("credentials", "check --prometheus-user with CLAUDE_GAUGE_PROMETHEUS_PASSWORD, or --prometheus-token-file"),
    ("not allowed", "let this user query; engines of several tenants need CLAUDE_GAUGE_PROMETHEUS_HEADERS"),
    ("token file", "check --prometheus-token-file and who may read it"),
    ("prometheus_ca", "check --prometheus-ca and who may read it"),
    ("too many", "raise --prometheus-interval"),
    ("match", "mend --prometheus-match: no series has these labels"),
    ("no Claude Code metrics", _TELEMETRY),
    ("no tokens", _TELEMETRY),
    ("found as", RENAME),
)


def ccusage(settings: Settings) -> Iterator[Check]:
    """Ask ccusage for the present block, where it is the chosen source or was named."""
    if settings.source == "ccusage" or settings.ccusage is not None:
        yield _asked("ccusage", lambda: command_line(settings, download=settings.source == "ccusage"))
    if settings.source == "ccusage-mcp" or settings.ccusage_mcp is not None:
        yield _asked("ccusage MCP", lambda: connection(settings))


def _asked(link: str, connect: Callable[[], Asked]) -> Check:
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
    if settings.otlp == "off" or not (settings.source in ("otlp", "hybrid") or settings.otlp is not None):
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
