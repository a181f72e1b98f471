"""The sources beside the transcripts, where they are configured: each is asked once, as the publisher asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from claude_gauge.apps.doctor.check import Check
from claude_gauge.config import Settings
from claude_gauge.sources.ccusage.command import CcusageError
from claude_gauge.sources.ccusage.source import command_line
from claude_gauge.sources.otlp.receiver import SERVER
from claude_gauge.sources.prometheus.source import Prometheus
from claude_gauge.sources.statusline.source import Plan


def plan(settings: Settings) -> Iterator[Check]:
    """Look whether Claude Code hands us the plan's own figures."""
    source = Plan(settings)
    source.load()
    reading = source.read(time.time())
    if reading.plan_5h is not None:
        yield Check("plan figures", "ok", f"{reading.plan_5h.share:.0%} of the 5-hour window, told by Claude Code")
    elif "plan" in reading.sources:
        yield Check("plan figures", "ok", "none for now: only Pro and Max have them, after a response in each window")
    else:
        yield Check("plan figures", "off", "not handed over: fuel is tokens / ceiling", "`claude-gauge setup`")


def prometheus(settings: Settings) -> Iterator[Check]:
    """Ask Prometheus one round of questions."""
    if settings.prometheus is None:
        return
    source = Prometheus(settings)
    source.load()
    health = source.read(time.time()).sources["tach"]
    if health.ok:
        yield Check("Prometheus", "ok", f"{settings.prometheus} knows Claude Code's tokens")
        return
    advice = "check the URL and its access; `claude-gauge otel env` prints what Claude Code needs to send metrics"
    yield Check("Prometheus", "warn" if health.degraded else "fail", f"{settings.prometheus}: {health.why}", advice)


def ccusage(settings: Settings) -> Iterator[Check]:
    """Ask ccusage for the present block, where it is the chosen source or was named."""
    if settings.source != "ccusage" and settings.ccusage is None:
        return
    asked = command_line(settings, download=settings.source == "ccusage")
    try:
        yield Check("ccusage", "ok", f"answers: {asked.block().tokens:,} tokens in the present block")
    except CcusageError as error:
        yield Check("ccusage", "fail", str(error), "npm install --global ccusage@20.0.24")
    finally:
        asked.stop()


def otlp(settings: Settings) -> Iterator[Check]:
    """Look who holds the port that OTLP is sent to, where it is received at all."""
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
