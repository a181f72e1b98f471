"""The commands that look at usage: `demo`, `show`, `watch`, `web`, and `doctor`, which checks the way it takes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from claude_gauge.commands.flags import BROKER, EVERY, READER, Config, Verbose, with_settings
from claude_gauge.commands.output import log_to_stderr, say
from claude_gauge.config import Settings
from claude_gauge.contract.usage import FLEET_NODE, Usage
from claude_gauge.errors import GaugeError
from claude_gauge.system.signals import until_signal

if TYPE_CHECKING:
    from claude_gauge.apps.doctor.machine import Check

CONNECT_S = 2.0
RETAINED_S = 0.5  # a broker sends what is retained at once
MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL", "off": "off "}


@with_settings(*READER, "http", "ceiling_5h", "redline", "cache_floor", "tach", "discovery")
def demo(
    *,
    config: Config,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, metavar="NUMBER", help="How many times faster than real time.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Chooses the day; the same seed gives the same day.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=1, metavar="NUMBER", help="End after so many seconds (lines only).")
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print payloads, a line a second, instead of drawing.")
    ] = False,
) -> None:
    """Play a made-up day; needs nothing but Python.

    Its figures go the real way: transcripts, MQTT broker, subscriber, picture.
    It has a broker of its own unless --broker names one; there its node is called
    `demo…`, its payload says that the figures are made up, and it removes its topics at the end.
    """
    from claude_gauge.apps.demo.app import as_lines, in_terminal, staged
    from claude_gauge.apps.terminal.app import can_draw, look_of

    tty = can_draw() and not lines and seconds is None
    log_to_stderr(config.settings.log_format, level="CRITICAL" if tty else "WARNING")
    with staged(config, seed=seed, speed=speed) as stage:
        say(stage.footer().removesuffix("  q quits"), err=True)
        if tty:
            in_terminal(stage, look_of(stage.settings))
        else:
            as_lines(stage, say, seconds)


@with_settings(*EVERY, shows_all=True)
def show(
    *,
    config: Config,
    json: Annotated[bool, typer.Option("--json", help="Print the payload itself.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Add cost, sessions, active time, lines, commits…, from Prometheus.")
    ] = False,
) -> None:
    """Show the present figures, once.

    Reads the publisher's topic; computes them here when no publisher runs. The first line says which.
    """
    from claude_gauge.apps.terminal.details import rows
    from claude_gauge.system.plain_text import harmless_json

    log_to_stderr(config.settings.log_format, level="ERROR")
    newest = _newest(config.settings, config.own_node)
    say(newest.origin, err=True)
    if json:
        say(harmless_json(newest.payload))
    else:
        for name, text in rows(newest.usage, time.time()):
            say(f"{name:22} {text}")
    if everything:
        _print_more(config, as_json=json)


def _print_more(config: Config, *, as_json: bool) -> None:
    import dataclasses
    import json

    from claude_gauge.sources.prometheus.source import figures, lines

    settings = config.settings
    if settings.prometheus is None and settings.source != "prometheus":
        raise GaugeError("--all needs Prometheus, which alone has these figures; name it with --prometheus URL")
    more = figures(settings, time.time())
    if as_json:
        say(json.dumps([dataclasses.asdict(figure) for figure in more]))
        return
    say()
    for line in lines(more):
        say(line)


@dataclass(frozen=True, slots=True)
class _Newest:
    """A payload, the bytes it came in, and where it came from in words."""

    usage: Usage
    payload: bytes
    origin: str


def _newest(settings: Settings, own_node: str) -> _Newest:
    """Return the node's newest payload; if the topic has none that is fresh, compute this machine's own.

    Raises GaugeError for another machine's node: its figures can't be computed here.
    """
    from claude_gauge.daemon.assembly import compute_once

    published, why = _from_topic(settings)
    if published is not None:
        return published
    if settings.node != own_node:
        publisher = "`claude-gauge fleet`" if settings.node == FLEET_NODE else "its publisher"
        raise GaugeError(f"{why}; is {publisher} running? This machine is {own_node}")
    usage = compute_once(settings)
    return _Newest(usage, usage.to_json(), f"computed here, since there is no fresh payload: {why}")


def _from_topic(settings: Settings) -> tuple[_Newest | None, str]:
    from claude_gauge.contract.freshness import seconds
    from claude_gauge.contract.usage import usage_topic
    from claude_gauge.mqtt.node_reader import NodeReader

    node = NodeReader(settings)
    link = node.link
    link.start()
    try:
        if not link.wait_connected(CONNECT_S):
            return None, link.trouble or f"broker {link.endpoint.place} does not answer"
        node.look(RETAINED_S)
    finally:
        link.stop()
    usage, stale = node.newest(time.time())
    if node.unseen.what:
        return None, stale
    if usage is None or stale:
        return None, f"{usage_topic(settings.node)} at {link.endpoint.place}: {stale}"
    age = time.time() - (seconds(usage.updated_at) or 0)
    origin = f"from {usage_topic(settings.node)} at {link.endpoint.place}, {max(0, age):.0f} s old"
    return _Newest(usage, node.payload, origin), ""


@with_settings(*READER, "redline", "cache_floor", shows_all=True)
def watch(
    *,
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Draw what is there now, and end.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")] = False,
) -> None:
    """Show the gauges in this terminal; `q` quits.

    Works on any machine that reaches the broker.
    """
    import shutil
    from dataclasses import replace

    from claude_gauge.apps.terminal.app import can_draw, look_of, watch_live, watch_once

    log_to_stderr(config.settings.log_format, level="CRITICAL")  # a log line would tear the picture
    look = look_of(config.settings, ascii_only=ascii_only)
    if once:
        columns, rows = shutil.get_terminal_size()
        say(watch_once(config.settings, replace(look, columns=columns, rows=rows - 1)), keep="\n\x1b")  # its colours
    elif not can_draw():
        raise GaugeError(
            "watch needs a terminal to draw in, not a pipe or TERM=dumb; `claude-gauge watch --once` prints one picture"
        )
    else:
        watch_live(config.settings, look)


@with_settings(*BROKER, "http", "http_hosts", "redline", "cache_floor", "log_format")
def web(
    *,
    config: Config,
    verbose: Verbose = False,
) -> None:
    """Serve the page alone, with all nodes of a broker."""
    from claude_gauge.outlets.web.shim import Display

    log_to_stderr(config.settings.log_format, level="DEBUG" if verbose else "INFO")
    until_signal(Display(config.settings))


@with_settings(*EVERY)
def doctor(
    *, config: Config, json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False
) -> None:
    """Check every link from Claude Code to the topic.

    Says what to do about each broken one; exit code 1 if there is any.
    """
    import json as encoder
    from dataclasses import asdict

    log_to_stderr(config.settings.log_format, level="CRITICAL")
    failed = False
    checks = []
    for check in _examine(config):
        failed = failed or check.state == "fail"
        checks.append(asdict(check))
        if not json:
            say(f"{MARKS[check.state]}  {check.link:22} {check.found}")
            if check.advice:
                say(f"{'':6}{'':22} -> {check.advice}")
    if json:
        say(encoder.dumps({"ok": not failed, "checks": checks}, indent=2), keep="\n")
    if failed:
        raise typer.Exit(1)


def _examine(config: Config) -> Iterator[Check]:
    """Yield the result of each check as soon as it is known, in the order in which a value travels."""
    from claude_gauge.apps.doctor import broker, machine, sources
    from claude_gauge.claude_code.folders import transcript_roots

    settings = config.settings
    changed = [f"{name} ({origin})" for name, origin in config.origins.items()]
    yield machine.Check("settings", "ok", f"changed: {', '.join(changed)}" if changed else "all defaults")
    for note in config.notes:
        yield machine.Check("settings", "warn", *note.partition(": ")[::2])
    roots, named = transcript_roots(), bool(os.environ.get("CLAUDE_CONFIG_DIR"))
    only_shows = machine.only_shows(settings, roots, named=named)
    yield from machine.folders(settings, roots, time.time(), named=named)
    yield from machine.watches(roots)
    yield from machine.disk(settings)
    yield from sources.claude_code(settings)
    yield from sources.plan(settings)
    yield from sources.prometheus(settings)
    yield from sources.ccusage(settings)
    yield from sources.otlp(settings)
    yield from broker.broker(settings, only_shows=only_shows)
    yield from machine.shim(settings, only_shows=only_shows)
