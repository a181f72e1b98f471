"""Every field of the payload, by every source, in every state: what is not known is null or unknown, never 0."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sources.otlp.exports import event
from tests.sources.otlp.receiving import NOW, Clock, send
from tests.support.net import free_port
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.contract.usage import PART_OF, Usage
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Reading, Tokens, Traffic
from claude_gauge.sources.otlp.feed import Otlp
from claude_gauge.sources.select import choose

SEED = frozenset(PART_OF) | {"last_model"}
TOKENS = frozenset({"window_7d_tokens", "limit_before_reset", "fuel_source", "window_5h_resets_at"})
IDLE = frozenset({"minutes_to_limit"})
PLAN = frozenset({"window_7d_pct", "window_7d_resets_at", "limit_name", "limit_pct"})  # nobody reported them here
THINKING = frozenset({"thinking_ratio"})
FIELDS = SEED | TOKENS | IDLE | PLAN
NOTHING = FIELDS


class World:
    """One source, the folder that it reads, and its port for OTLP."""

    def __init__(self, folder: Path, name: str) -> None:
        self.claude = ClaudeHome(folder / "claude")
        self.clock = Clock()
        port = free_port()
        self.settings = Settings(
            source=name,
            otlp=f"127.0.0.1:{port}" if "otlp" in name or name in {"hybrid", "auto"} else None,
            prometheus=f"http://127.0.0.1:{free_port()}" if name == "prometheus" else None,
            ccusage=str(folder / "none") if name == "ccusage" else None,
            state_dir=folder / "state",
            node="test",
        )

    def usage(self, previous: Usage | None = None) -> Usage:
        """Read what is there, and derive the payload."""
        source = choose(self.settings, roots=[self.claude.folder / "projects"], clock=self.clock)
        source.load()
        source.read(self.clock.now)
        return derive(source.read(self.clock.now), Limits(), self.clock.now, previous=previous)

    def send(self, at: float) -> None:
        """Send an event; it is kept for the next start."""
        source = Otlp(self.settings, self.clock)
        source.start(lambda: None)
        try:
            more: dict[str, Any] = {"session.id": "elsewhere"}
            send(source, "/v1/logs", event(at, "elsewhere", **more))
        finally:
            source.stop()


def _nothing(world: World) -> None:
    """Leave the folder as it is."""


def _no_folder(world: World) -> None:
    shutil.rmtree(world.claude.folder)


def _works(world: World) -> None:
    world.claude.append(assistant(NOW - 5, 1))


def _worked(world: World) -> None:
    world.claude.append(assistant(NOW - 3000, 1))


def _reported(world: World) -> None:
    world.send(NOW - 5)


def _both(world: World) -> None:
    _works(world)
    _reported(world)


def _only_reported(world: World) -> None:
    _no_folder(world)
    _reported(world)


@pytest.mark.parametrize(
    ("source", "state", "unknown"),
    [
        ("transcripts", _nothing, NOTHING),
        ("transcripts", _no_folder, NOTHING),
        ("transcripts", _works, PLAN),
        ("transcripts", _worked, PLAN | IDLE),
        ("hybrid", _nothing, NOTHING),
        ("hybrid", _no_folder, NOTHING),
        ("hybrid", _works, PLAN),
        ("hybrid", _reported, PLAN | THINKING),
        ("hybrid", _both, PLAN),
        ("hybrid", _only_reported, PLAN | THINKING),
        ("auto", _both, PLAN),
        ("auto", _only_reported, PLAN | THINKING),
        ("otlp", _works, NOTHING),
        ("otlp", _reported, PLAN | THINKING),
        ("prometheus", _works, NOTHING),
        ("ccusage", _works, PLAN | TOKENS | IDLE | {"window_5h_tokens", "window_5h_pct"}),
        ("ccusage", _nothing, NOTHING),
    ],
)
def test_what_is_not_known(
    tmp_path: Path, source: str, state: Callable[[World], None], unknown: frozenset[str]
) -> None:
    """Of each source in each state exactly these fields are unknown to a reader, and no lamp claims more."""
    world = World(tmp_path, source)
    state(world)
    usage = world.usage()

    assert {name for name in FIELDS if _unknown(usage, name)} == unknown
    assert not usage.hot
    assert not usage.warn
    assert usage.stall is (unknown >= {"rate_1m"} or unknown >= {"window_5h_tokens"} or state is _worked)


def _unknown(usage: Usage, name: str) -> bool:
    return (usage.figure(name) if name in PART_OF else getattr(usage, name)) in {None, ""}


@pytest.mark.parametrize(("source", "state"), [("transcripts", _works), ("hybrid", _both), ("otlp", _reported)])
def test_what_was_known_is_kept(tmp_path: Path, source: str, state: Callable[[World], None]) -> None:
    """A source that is away leaves the seed's figures as they were, beside STALL, and makes null of all others."""
    world = World(tmp_path, source)
    state(world)
    before = world.usage()
    shutil.rmtree(world.claude.folder)
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    after = world.usage(before)

    assert after.stall
    assert [getattr(after, name) for name in PART_OF] == [getattr(before, name) for name in PART_OF]
    assert after.last_model == "opus"
    assert [after.window_7d_tokens, after.fuel_source, after.limit_before_reset, after.minutes_to_limit] == [None] * 4


def test_what_otlp_alone_tells_has_no_share_in_the_thinking(tmp_path: Path) -> None:
    """A response of a container, whose thinking nobody reports, does not thin out that of the transcripts."""
    alone = World(tmp_path / "alone", "transcripts")
    _works(alone)
    both = World(tmp_path / "both", "hybrid")
    _both(both)

    assert both.usage().thinking_ratio == alone.usage().thinking_ratio == 0.2
    assert both.usage().sources["thinking"].why == "estimated"
    assert both.usage().window_5h_tokens == SAMPLE + 4321


def test_thinking_keeps_what_was_reported_last(tmp_path: Path) -> None:
    """Where only telemetry goes on, the field keeps its last value, and every reader sees that it is not known."""
    world = World(tmp_path, "hybrid")
    _works(world)
    before = world.usage()
    world.clock.now += 600
    world.send(world.clock.now - 5)
    after = world.usage(before)

    assert (before.thinking_ratio, after.thinking_ratio) == (0.2, 0.2)
    assert (before.figure("thinking_ratio"), after.figure("thinking_ratio")) == (0.2, None)
    assert not after.stall


def test_refused_lines_are_reported(tmp_path: Path) -> None:
    """Lines with times or counts that can't be stand in `sources` with their number; all others count."""
    world = World(tmp_path, "transcripts")
    absurd = assistant(NOW - 9, 2, tokens=(10, 10**13, 0, 0))
    world.claude.append(assistant(NOW - 5, 1), absurd, assistant(NOW + 86400, 3))
    usage = world.usage()

    assert (usage.sources["tach"].ok, usage.sources["tach"].why) == (False, "2 lines not believed")
    assert not usage.stall
    assert usage.window_5h_tokens == SAMPLE + 10


def test_null_is_no_refusal(tmp_path: Path) -> None:
    """A gateway that writes null for no tokens is believed."""
    world = World(tmp_path, "transcripts")
    line = assistant(NOW - 5, 1)
    line["message"]["usage"]["cache_read_input_tokens"] = None
    world.claude.append(line)

    assert world.usage().sources["tach"].ok


@pytest.mark.parametrize("source", ["otlp", "hybrid"])
def test_refused_records_are_reported(tmp_path: Path, source: str) -> None:
    """Records that can't be counted, and exports that can't be read, stand in `sources` with their number."""
    world = World(tmp_path, source)
    _works(world)
    source_ = choose(world.settings, roots=[world.claude.folder / "projects"], clock=world.clock)
    source_.start(lambda: None)
    port = int((world.settings.otlp or "").rpartition(":")[2])
    try:
        listening = type("Listening", (), {"port": port})()
        send(listening, "/v1/logs", event(NOW - 5, "r1"))
        send(listening, "/v1/logs", event(NOW + 86400, "r2"))
        send(listening, "/v1/logs", event(NOW - 5, "r3", output_tokens=10**13))
        send(listening, "/v1/logs", [], status=400)
        health = source_.read(NOW).sources["tach"]
    finally:
        source_.stop()

    assert (health.ok, health.degraded, health.why) == (False, True, "3 otlp records refused")


def test_thinking_is_not_known_from_telemetry_alone() -> None:
    """A reading whose thinking nobody reports leaves the field as it was, whatever the tokens say."""
    traffic = Traffic(five_minutes=Tokens(output=1000), thinking="unknown", newest_at=NOW)
    before = derive(Reading(Traffic(five_minutes=Tokens(output=10, thinking=4), newest_at=NOW)), Limits(), NOW)

    assert derive(Reading(traffic), Limits(), NOW, previous=before).thinking_ratio == 0.4
