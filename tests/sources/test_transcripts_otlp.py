"""Transcripts and OTLP in one tally, with real files and a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.sources.otlp.exports import event, metrics, point
from tests.sources.otlp.receiving import NOW, Clock, send
from tests.support.net import free_port, wait_until
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Reading
from claude_gauge.sources import transcripts_otlp
from claude_gauge.sources.transcripts_otlp import TranscriptsOtlp

TOKENS = {"input_tokens": 10, "output_tokens": 100, "cache_read_tokens": 1000, "cache_creation_tokens": 50}
HERE = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "22222222-2222-4222-8222-222222222222"


@contextmanager
def _together(
    tmp_path: Path, claude: ClaudeHome, clock: Clock | None = None, port: int = 0
) -> Iterator[TranscriptsOtlp]:
    settings = Settings(otlp=f"127.0.0.1:{port}", state_dir=tmp_path / "state", node="test")
    source = TranscriptsOtlp(settings, [claude.folder / "projects"], clock or Clock())
    source.start(lambda: None)
    try:
        yield source
    finally:
        source.stop()


def _week(source: TranscriptsOtlp, now: float = NOW) -> int:
    """Return the week's tokens, once the history is read."""
    wait_until(lambda: source.read(now).week_tokens is not None, "the history")
    return source.read(now).week_tokens or 0


def _event(request_id: str, *, at: float = NOW - 5, session: str = HERE, sequence: int = 0) -> dict[str, Any]:
    more: dict[str, Any] = {"session.id": session, **TOKENS}
    return event(at, request_id, sequence=sequence, **more)


@pytest.mark.parametrize("first", ["event", "transcript"])
def test_reported_by_both(tmp_path: Path, claude: ClaudeHome, first: str) -> None:
    """A response reported by event and transcript is counted once, whichever came first, with its thinking."""
    with _together(tmp_path, claude) as source:
        if first == "event":
            send(source, "/v1/logs", _event("req_000001"))
            assert _minute(source.read(NOW)) == SAMPLE
        claude.append(assistant(NOW - 5, 1))
        wait_until(lambda: source.read(NOW).traffic and _thinking(source.read(NOW)) == 20, "the transcript")
        send(source, "/v1/logs", _event("req_000001"))
        reading = source.read(NOW)

        assert _minute(reading) == SAMPLE
        assert _thinking(reading) == 20
        assert _week(source) == SAMPLE
        assert reading.sources["tach"].source == "transcripts+otlp"


def test_reported_by_one(tmp_path: Path, claude: ClaudeHome) -> None:
    """What only OTLP reports (compaction, another machine) and what only transcripts have both count."""
    claude.append(assistant(NOW - 5, 1))
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("compaction"))
        send(source, "/v1/logs", _event("far away", session=ELSEWHERE))

        assert _week(source) == 3 * SAMPLE


def test_several_lines_after_the_event(tmp_path: Path, claude: ClaudeHome) -> None:
    """The lines that one response is written as, growing, end at the same sum beside its event."""
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("req_000001"))
        for output in (1, 40, 100):
            claude.append(assistant(NOW - 5, 1, tokens=(10, output, 1000, 50), thinking=output // 5))
        wait_until(lambda: _thinking(source.read(NOW)) == 20, "the last line")

        assert _week(source) == SAMPLE


def test_lines_before_and_after_the_event(tmp_path: Path, claude: ClaudeHome) -> None:
    """A response's later lines, and its copy in a resumed session, are known though its event came between."""
    with _together(tmp_path, claude) as source:
        claude.append(assistant(NOW - 5, 1, thinking=0))
        wait_until(lambda: _minute(source.read(NOW)) == SAMPLE, "the first line")
        send(source, "/v1/logs", _event("req_000001"))
        claude.append(assistant(NOW - 5, 1))
        claude.append(assistant(NOW - 5, 1), assistant(NOW - 4, 2, thinking=1), name="resumed.jsonl")
        wait_until(lambda: _thinking(source.read(NOW)) == 21, "the last line")

        assert _week(source) == 2 * SAMPLE


@pytest.mark.parametrize(("reported", "transcribed"), [("req_000001", None), ("", "req_000001")])
@pytest.mark.parametrize("first", ["event", "transcript"])
def test_request_id_in_one_of_them(
    tmp_path: Path, claude: ClaudeHome, reported: str, transcribed: str | None, first: str
) -> None:
    """Where only one of them knows the request's id, the same prompt at the same time is the same response."""
    with _together(tmp_path, claude) as source:
        if first == "event":
            send(source, "/v1/logs", _event(reported))
        for output in (1, 100):
            claude.append(assistant(NOW - 5, 1, requestId=transcribed, tokens=(10, output, 1000, 50)))
        wait_until(lambda: _thinking(source.read(NOW)) == 20, "the transcript")
        send(source, "/v1/logs", _event(reported))

        assert _week(source) == SAMPLE


def test_same_prompt_at_the_same_time(tmp_path: Path, claude: ClaudeHome) -> None:
    """Two responses with the same figures at once, as parallel agents have, are distinguished by their ids."""
    with _together(tmp_path, claude) as source:
        claude.append(assistant(NOW - 5, 1))
        wait_until(lambda: _minute(source.read(NOW)) == SAMPLE, "the transcript")
        send(source, "/v1/logs", _event("req_000002", sequence=1))
        claude.append(assistant(NOW - 5, 3, thinking=7))
        wait_until(lambda: _thinking(source.read(NOW)) == 27, "the other transcript")

        assert _week(source) == 3 * SAMPLE


def test_without_request_ids(tmp_path: Path, claude: ClaudeHome) -> None:
    """Where the provider gives no request ids, the same figures within seconds are the same response."""
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("", at=NOW - 5))
        claude.append(assistant(NOW - 4.8, 1, requestId=None), assistant(NOW - 60, 2, requestId=None))
        wait_until(lambda: _week(source) >= 2 * SAMPLE, "the transcript")
        send(source, "/v1/logs", _event("", at=NOW - 59.7, sequence=2))

        assert _week(source) == 2 * SAMPLE


def test_constant_request_ids(tmp_path: Path, claude: ClaudeHome) -> None:
    """A gateway that gives every request one id does not make one response of all."""
    with _together(tmp_path, claude) as source:
        for number in range(4):
            send(source, "/v1/logs", _event("same", at=NOW - 200 + 40 * number, sequence=number))
        claude.append(*(assistant(NOW - 200 + 40 * n, n, requestId="same") for n in range(4)))
        wait_until(lambda: _thinking(source.read(NOW)) >= 60, "the transcript")

        assert _week(source) == 4 * SAMPLE


def test_metrics_of_local_sessions(tmp_path: Path, claude: ClaudeHome) -> None:
    """Metrics of a session whose transcript lies here are passed over; those of another machine count."""
    clock = Clock()
    claude.append(assistant(NOW - 5, 1), name=f"{HERE}.jsonl")
    with _together(tmp_path, claude, clock) as source:
        for session in (HERE, ELSEWHERE, None):
            send(source, "/v1/metrics", metrics(point("output", 7, NOW - 5, session=session)))
        clock.now += 40

        assert _week(source, clock.now) == SAMPLE + 7


def test_restart(tmp_path: Path, claude: ClaudeHome) -> None:
    """After a restart both memories are one again."""
    claude.append(assistant(NOW - 5, 1))
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("req_000001"))
        send(source, "/v1/logs", _event("compaction", sequence=1))
    claude.append(assistant(NOW - 3, 2))
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("req_000002", sequence=2))

        assert _week(source) == 3 * SAMPLE


def test_once(tmp_path: Path, claude: ClaudeHome) -> None:
    """Read once, both are there; the journal of a publisher that runs beside is not touched."""
    claude.append(assistant(NOW - 5, 1))
    with _together(tmp_path, claude) as source:
        send(source, "/v1/logs", _event("compaction"))
        journal = tmp_path / "state" / "otlp-test.jsonl"
        before = (journal.stat().st_ino, journal.read_bytes())
        settings = Settings(otlp="127.0.0.1:0", state_dir=tmp_path / "state", node="test")
        looking = TranscriptsOtlp(settings, [claude.folder / "projects"], Clock())
        looking.load()

        assert looking.read(NOW).week_tokens == 2 * SAMPLE
        assert (journal.stat().st_ino, journal.read_bytes()) == before


def test_port_is_taken(tmp_path: Path, claude: ClaudeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its port OTLP is missing and says so; the transcripts count; when the port is free it listens."""
    monkeypatch.setattr(transcripts_otlp, "LISTEN_AGAIN_S", 0.05)
    claude.append(assistant(NOW - 5, 1))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port := free_port()))
        holder.listen()
        with _together(tmp_path, claude, port=port) as source:
            health = source.read(NOW).sources["tach"]

            assert _week(source) == SAMPLE
            assert (health.ok, health.degraded, health.why) == (False, True, "otlp port is taken")

            holder.close()
            wait_until(lambda: source.read(NOW).sources["tach"].ok, "the port")
            send(source, "/v1/logs", _event("compaction"))

            assert _week(source) == 2 * SAMPLE


def test_transcripts_folder_goes(tmp_path: Path, claude: ClaudeHome) -> None:
    """Without a transcripts folder OTLP still moves every needle, and health says what is missing."""
    claude.project.rmdir()
    (claude.folder / "projects").rmdir()
    with _together(tmp_path, claude) as source:
        silent = source.read(NOW).sources["tach"]
        send(source, "/v1/logs", _event("r1"))
        reading = source.read(NOW)

    assert (silent.ok, silent.degraded) == (False, False)
    assert _minute(reading) == SAMPLE
    assert reading.sources["tach"].degraded
    assert reading.sources["tach"].why == "no transcripts folder"


def test_clock_set_back_by_days(tmp_path: Path, claude: ClaudeHome) -> None:
    """A clock that was days ahead and is set right leaves OTLP's past counted, once."""
    clock = Clock(NOW + 20 * 86400)
    with _together(tmp_path, claude, clock) as source:
        _week(source, clock.now)
        clock.now = NOW
        send(source, "/v1/logs", _event("r1"))
        send(source, "/v1/logs", _event("r2", sequence=1))
        wait_until(lambda: _week(source) == 2 * SAMPLE, "the events")


def _minute(reading: Reading) -> float:
    return reading.traffic.minute.total if reading.traffic else -1


def _thinking(reading: Reading) -> float:
    return reading.traffic.five_minutes.thinking if reading.traffic else -1
