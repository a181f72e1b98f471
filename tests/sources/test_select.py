"""`--source` with real programs: transcripts on disk, the OTLP socket, ccusage, Prometheus."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.sources.otlp.exports import event
from tests.support.net import free_port, wait_until
from tests.support.parts import part
from tests.support.prometheus import TOKENS, Series, Server
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Reading
from claude_gauge.errors import GaugeError
from claude_gauge.sources import failover
from claude_gauge.sources.failover import Failover
from claude_gauge.sources.select import choose

CCUSAGE = "ccusage-20.0.24/node_modules/.bin/ccusage"
MCP = "ccusage-mcp-18.0.11/node_modules/.bin"
SCRAPED = 7000


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClaudeHome:
    """A config folder of Claude Code's with one response of this minute and one of three days ago."""
    home = ClaudeHome(tmp_path / "claude")
    now = time.time()
    home.append(assistant(now - 3 * 86400, 1), assistant(now - 5, 2))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home.folder))
    monkeypatch.setattr(failover, "GRACE_S", 0.5)
    monkeypatch.setattr(failover, "LOOK_S", 0.1)
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TTL_S", 0.3)
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.LOAD_SHARE", 1.0)
    return home


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Server]:
    """A real Prometheus that scraped 7,000 tokens of a session of this hour."""
    now = time.time()
    labels = {"__name__": TOKENS, "session_id": "s", "model": "claude-opus-5-5"}
    steps = [(now - 1800 + 15 * step, step) for step in range(120)]
    past = [
        Series({**labels, "type": kind}, [(at, share * min(1, step / 100)) for at, step in steps])
        for kind, share in (("input", 2000), ("output", 1000), ("cacheRead", 3000), ("cacheCreation", 1000))
    ]
    with Server(tmp_path / "prometheus").fill(past) as server:
        yield server


@contextmanager
def _running(tmp_path: Path, source: str, **more: object) -> Iterator[Failover]:
    settings = Settings.model_validate({"source": source, "state_dir": tmp_path / "state", "node": "test", **more})
    chosen = choose(settings)
    chosen.start(lambda: None)
    try:
        yield chosen
    finally:
        chosen.stop()


def _soon(source: Failover, wanted: Callable[[Reading], object], what: str) -> Reading:
    wait_until(lambda: wanted(source.read(time.time())), what)
    return source.read(time.time())


def _names(reading: Reading) -> tuple[str, str]:
    return reading.sources["tach"].source, reading.sources["fuel"].source


def _block(reading: Reading) -> int:
    return reading.block.tokens if reading.block else -1


def _minute(reading: Reading) -> float:
    return reading.traffic.minute.total if reading.traffic else -1


def test_transcripts(tmp_path: Path, claude: ClaudeHome) -> None:
    """`transcripts` takes everything from there, and listens nowhere."""
    assert claude.project.exists()
    with _running(tmp_path, "transcripts") as source:
        reading = _soon(source, lambda reading: reading.week_tokens == 2 * SAMPLE, "the history")

    assert _names(reading) == ("transcripts", "transcripts")
    assert (_block(reading), _minute(reading)) == (SAMPLE, SAMPLE)


def test_ccusage(tmp_path: Path, claude: ClaudeHome) -> None:
    """`ccusage` takes fuel from the real one and the tach, with thinking, from the transcripts at once."""
    with _running(tmp_path, "ccusage", ccusage=str(part(CCUSAGE))) as source:
        reading = _soon(source, lambda reading: _block(reading) == SAMPLE and _minute(reading) == SAMPLE, "both")
        claude.append(assistant(time.time(), 3))
        after = _soon(source, lambda reading: _block(reading) == 2 * SAMPLE, "ccusage's next answer")

    assert _names(reading) == ("transcripts", "ccusage")
    assert reading.week_tokens == 2 * SAMPLE
    assert reading.traffic is not None
    assert (reading.traffic.five_minutes.thinking, reading.traffic.thinking) == (20, "exact")
    assert _minute(after) == 2 * SAMPLE


def test_ccusage_is_missing(tmp_path: Path, claude: ClaudeHome, caplog: pytest.LogCaptureFixture) -> None:
    """`ccusage` without ccusage still moves the tach; the fuel's health says what is missing, the log what to do."""
    assert claude.project.exists()
    with _running(tmp_path, "ccusage", ccusage=str(tmp_path / "nowhere")) as source:
        reading = _soon(source, lambda reading: _minute(reading) == SAMPLE, "the tach")

    assert reading.sources["tach"].ok
    assert (reading.sources["fuel"].ok, reading.sources["fuel"].why) == (False, "not found")
    assert "check the setting `ccusage`" in caplog.text


def test_ccusage_mcp(tmp_path: Path, claude: ClaudeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ccusage-mcp` without a URL runs the real server on stdio."""
    assert claude.project.exists()
    monkeypatch.setenv("PATH", str(part(MCP)), prepend=":")
    with _running(tmp_path, "ccusage-mcp") as source:
        reading = _soon(source, lambda reading: _block(reading) == SAMPLE and _minute(reading) == SAMPLE, "both")

    assert _names(reading) == ("transcripts", "ccusage-mcp")
    assert reading.week_tokens == 2 * SAMPLE


def test_prometheus(tmp_path: Path, claude: ClaudeHome, prometheus: Server) -> None:
    """`prometheus` takes everything from there; thinking can't be known, and `sources` says so."""
    assert claude.project.exists()
    with _running(tmp_path, "prometheus", prometheus=prometheus.url) as source:
        reading = _soon(source, lambda reading: _block(reading) == SCRAPED, "the first round")

    assert _names(reading) == ("prometheus", "prometheus")
    assert reading.week_tokens == SCRAPED
    assert not reading.sources["thinking"].ok
    assert reading.sources["thinking"].degraded


def test_otlp(tmp_path: Path, claude: ClaudeHome) -> None:
    """`otlp` takes what is received, and no transcript."""
    assert claude.project.exists()
    with _running(tmp_path, "otlp", otlp=f"127.0.0.1:{(port := free_port())}") as source:
        httpx.post(f"http://127.0.0.1:{port}/v1/logs", json=event(time.time(), "r1"))
        reading = source.read(time.time())

    assert _names(reading) == ("otlp", "otlp")
    assert (_block(reading), reading.week_tokens, _minute(reading)) == (4321, 4321, 4321)


def test_otlp_port_is_taken(tmp_path: Path, claude: ClaudeHome) -> None:
    """`otlp` alone can't do without its port: the start fails in words."""
    assert claude.project.exists()
    address = f"127.0.0.1:{free_port()}"
    with _running(tmp_path, "otlp", otlp=address), pytest.raises(GaugeError, match="--otlp"):
        choose(Settings(source="otlp", otlp=address, state_dir=tmp_path / "other")).start(lambda: None)


def test_otlp_off() -> None:
    """`otlp` with its address off is a contradiction, reported as one."""
    with pytest.raises(GaugeError, match="nothing to read"):
        choose(Settings(source="otlp", otlp="off"))


def test_hybrid_with_prometheus(tmp_path: Path, claude: ClaudeHome, prometheus: Server) -> None:
    """`hybrid` moves the tach with the transcripts, fuel from Prometheus; each outlives the other's death."""
    with _running(tmp_path, "hybrid", prometheus=prometheus.url, prometheus_interval=0.2) as source:
        reading = _soon(source, lambda reading: _block(reading) == SCRAPED and _minute(reading) == SAMPLE, "both")
        claude.append(assistant(time.time(), 3))
        _soon(source, lambda reading: _minute(reading) == 2 * SAMPLE, "the tach")
        prometheus.stop()
        without = _soon(source, lambda reading: _block(reading) == 2 * SAMPLE, "the fuel from elsewhere")
        prometheus.start()
        _soon(source, lambda reading: _block(reading) == SCRAPED, "the return")
        shutil.rmtree(claude.folder)
        other = _soon(source, lambda reading: _names(reading)[0] == "prometheus", "the tach from elsewhere")

    assert _names(reading) == ("transcripts", "prometheus")
    assert reading.traffic is not None
    assert reading.traffic.five_minutes.thinking == 20
    assert _names(without) == ("transcripts", "transcripts")
    assert _names(other) == ("prometheus", "prometheus")


def test_hybrid_with_ccusage(tmp_path: Path, claude: ClaudeHome) -> None:
    """`hybrid` without Prometheus takes fuel from the installed ccusage; when that goes, from what is here."""
    bin_folder = tmp_path / "bin"
    shutil.copytree(part(CCUSAGE).parent.parent, bin_folder / "node_modules", symlinks=True)
    program = bin_folder / "node_modules" / ".bin" / "ccusage"
    with _running(tmp_path, "hybrid", ccusage=str(program), otlp=f"127.0.0.1:{free_port()}") as source:
        reading = _soon(
            source, lambda reading: _names(reading)[1] == "ccusage" and _block(reading) == SAMPLE, "ccusage"
        )
        program.unlink()
        claude.append(assistant(time.time(), 3))
        without = _soon(source, lambda reading: _block(reading) == 2 * SAMPLE, "the fuel from elsewhere")

    assert _names(reading) == ("transcripts+otlp", "ccusage")
    assert _names(without) == ("transcripts+otlp", "transcripts+otlp")


def test_hybrid_with_otlp(tmp_path: Path, claude: ClaudeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hybrid` with OTLP counts what either reports, once."""
    assert claude.project.exists()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    port = free_port()
    with _running(tmp_path, "hybrid", otlp=f"127.0.0.1:{port}") as source:
        _soon(source, lambda reading: reading.week_tokens == 2 * SAMPLE, "the history")
        same = {"input_tokens": 10, "output_tokens": 100, "cache_read_tokens": 1000, "cache_creation_tokens": 50}
        reported: dict[str, dict[str, Any]] = {"req_000002": same, "compaction": {}}
        for number, (request, tokens) in enumerate(reported.items()):
            body = event(time.time(), request, sequence=number, **tokens)
            httpx.post(f"http://127.0.0.1:{port}/v1/logs", json=body).raise_for_status()
        reading = source.read(time.time())

    assert _names(reading) == ("transcripts+otlp", "transcripts+otlp")
    assert (_block(reading), reading.week_tokens) == (SAMPLE + 4321, 2 * SAMPLE + 4321)


def test_auto_prefers_transcripts(
    tmp_path: Path, claude: ClaudeHome, prometheus: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """`auto` takes the transcripts, says so, and changes to Prometheus and back when they go and come."""
    caplog.set_level(logging.INFO)
    with _running(tmp_path, "auto", prometheus=prometheus.url, prometheus_interval=0.2) as source:
        first = _soon(source, lambda reading: _block(reading) == SAMPLE, "the transcripts")
        started_for_nothing = "prometheus started" in caplog.text
        claude.folder.rename(aside := claude.folder.with_name("aside"))
        second = _soon(source, lambda reading: _names(reading) == ("prometheus", "prometheus"), "Prometheus")
        aside.rename(claude.folder)
        third = _soon(source, lambda reading: _names(reading) == ("transcripts", "transcripts"), "the return")

    assert _names(first) == ("transcripts", "transcripts")
    assert not started_for_nothing
    assert _block(second) == SCRAPED
    assert _block(third) == SAMPLE
    assert "tach from transcripts" in caplog.text
    assert "tach now from prometheus instead of transcripts (no transcripts folder)" in caplog.text


def test_auto_without_transcripts(tmp_path: Path, prometheus: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` where Claude Code never ran takes what does answer."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "nowhere"))
    with _running(tmp_path, "auto", prometheus=prometheus.url) as source:
        reading = _soon(source, lambda reading: _block(reading) == SCRAPED, "Prometheus")

    assert _names(reading) == ("prometheus", "prometheus")


def test_auto_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` where nothing answers starts all the same, and says what it lacks."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with _running(tmp_path, "auto") as source:
        reading = source.read(time.time())

    assert reading.sources["tach"].why == "no transcripts folder"
    assert not reading.sources["tach"].ok


def test_auto_listens_only_where_otlp_is_set(tmp_path: Path, claude: ClaudeHome) -> None:
    """`auto` opens no port unasked: with an OTLP address set it joins what is received."""
    assert claude.project.exists()
    with _running(tmp_path, "auto", otlp=f"127.0.0.1:{(port := free_port())}") as source:
        httpx.post(f"http://127.0.0.1:{port}/v1/logs", json=event(time.time(), "r1")).raise_for_status()
        _soon(source, lambda reading: _block(reading) == SAMPLE + 4321, "both")


@pytest.mark.parametrize("name", ["auto", "hybrid", "transcripts", "ccusage"])
def test_once(tmp_path: Path, claude: ClaudeHome, name: str) -> None:
    """Read once, without threads that stay, every source has what is there."""
    assert claude.project.exists()
    settings = Settings.model_validate({"source": name, "ccusage": str(part(CCUSAGE)), "state_dir": tmp_path / "state"})
    source = choose(settings)
    source.load()
    reading = source.read(time.time())

    assert (_block(reading), reading.week_tokens, _minute(reading)) == (SAMPLE, 2 * SAMPLE, SAMPLE)
