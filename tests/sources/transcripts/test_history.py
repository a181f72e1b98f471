"""History: read behind what is new, in any shape of files, back to the pause on which the block's start depends."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.generated import generate
from tests.support.net import PATIENCE_S, wait_until
from tests.support.parts import part
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant, encoded

from claude_gauge.counting.reading import Block, Reading
from claude_gauge.sources.transcripts import source as module
from claude_gauge.sources.transcripts.readers import Readers
from claude_gauge.sources.transcripts.source import Transcripts

DAY = 86400.0
HOUR = 3600.0
NOW = 1_763_900_000.0


def _loaded(root: Path, now: float) -> Reading:
    source = Transcripts([root], lambda: now)
    source.load()
    source.stop()
    return source.read(now)


def _oracle(times: list[float], now: float) -> Block:
    """Return the block that is active, by the plain rule over all entries ever."""
    start = last = 0.0
    tokens = 0
    for at in sorted(times):
        if at - start > 5 * HOUR or at - last > 5 * HOUR:
            start, tokens = at - at % HOUR, 0
        tokens, last = tokens + SAMPLE, at
    return Block(tokens, start, start + 5 * HOUR) if now - start < 5 * HOUR and now - last < 5 * HOUR else Block()


def test_loaded_twice(tmp_path: Path) -> None:
    """A second look reads what was appended since the first."""
    claude = ClaudeHome(tmp_path)
    source = Transcripts([claude.folder / "projects"], lambda: NOW)
    claude.append(assistant(NOW - 50, 1))
    source.load()
    claude.append(assistant(NOW - 20, 2))
    source.load()
    source.stop()
    traffic = source.read(NOW).traffic

    assert traffic is not None
    assert traffic.minute.total == 2 * SAMPLE


def _written(root: Path, times: list[float], days_per_file: float) -> None:
    """Write a file for each so many days, last touched at its last line."""
    files: dict[int, list[float]] = {}
    for at in sorted(times):
        files.setdefault(int(at // (days_per_file * DAY)), []).append(at)
    numbers = {at: number for number, at in enumerate(sorted(times))}
    for name, ats in files.items():
        path = root / f"-p{name % 3}" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(*(assistant(at, numbers[at]) for at in ats)))
        os.utime(path, (ats[-1], ats[-1]))


def _unbroken(random: Random, days: float, longest_h: float = 4.9) -> list[float]:
    """Choose moments up to now with no pause of 5 hours between them."""
    times, at = [NOW - 60.0], NOW - 60.0
    while at > NOW - days * DAY:
        at = round(at - random.uniform(0.2, longest_h) * HOUR, 3)
        times.append(at)
    return times


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9), st.floats(6, 60), st.sampled_from([0.3, 1.0, 3.0, 100.0]))
def test_unbroken_use_has_the_block_of_all_its_history(seed: int, days: float, days_per_file: float) -> None:
    """However long somebody works without a pause of 5 hours, a cold start finds the block that all of it makes."""
    times = _unbroken(Random(seed), days)
    with tempfile.TemporaryDirectory() as folder:
        _written(Path(folder), times, days_per_file)
        reading = _loaded(Path(folder), NOW)

    assert reading.block == _oracle(times, NOW)
    assert reading.week_tokens == SAMPLE * sum(at > NOW - 7 * DAY for at in times)


@pytest.mark.parametrize("seed", range(3))
def test_unbroken_months_are_ccusages(seed: int, tmp_path: Path) -> None:
    """After 40 days without a pause the active block is the one that ccusage shows."""
    random, now = Random(seed), time.time()
    shift = now - NOW
    times = [round(at + shift, 3) for at in _unbroken(random, 40)]
    _written(tmp_path / "projects", times, 1.0)
    block = _loaded(tmp_path / "projects", time.time()).block
    program = part("ccusage-20.0.24/node_modules/.bin/ccusage")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path)}
    command = [str(program), "blocks", "--json", "--offline", "--active"]
    (active,) = json.loads(
        subprocess.run(command, env=env, capture_output=True, check=True, timeout=PATIENCE_S).stdout
    )["blocks"]

    assert block
    assert (block.start, block.tokens) == (
        datetime.fromisoformat(active["startTime"]).timestamp(),
        active["totalTokens"],
    )


@pytest.mark.parametrize("much", [0, 1 << 40])
@pytest.mark.parametrize("seed", range(4))
def test_children_count_what_one_process_counts(
    seed: int, much: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forks, subagents and growing lines give the same block and week, whether children read them or nobody else."""
    now = NOW + seed * 977
    tree = generate(seed, now, days=6)
    tree.files["now.jsonl"] += encoded(assistant(now - 30, 999_999))
    tree.write(tmp_path)
    monkeypatch.setattr(module, "MUCH_BYTES", much)
    reading = _loaded(tmp_path, now)
    blocks = tree.blocks()
    start, _, tokens = blocks[-1]
    if now - 30 - start > 5 * HOUR:
        start, tokens = (now - 30) - (now - 30) % HOUR, 0

    assert reading.block == Block(tokens + SAMPLE, start, start + 5 * HOUR)
    assert reading.week_tokens == sum(tokens for _, _, tokens in blocks) + SAMPLE


def test_block_is_reported_before_the_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the block is exact it is reported, while the rest of the week is still being read."""
    claude, now = ClaudeHome(tmp_path), time.time()
    for days in range(6):
        path = claude.append(assistant(now - 60 - days * DAY, days), name=f"{days}.jsonl")
        os.utime(path, (now - 60 - days * DAY, now - 60 - days * DAY))
    reported: list[Reading] = []
    monkeypatch.setattr(module, "FIRST_S", 0.0)
    source = Transcripts([claude.folder / "projects"])
    source.start(lambda: reported.append(source.read(time.time())))
    wait_until(lambda: any(reading.week_tokens for reading in list(reported)), "the week")
    source.stop()
    block = next(reading for reading in reported if reading.block)

    assert block.block
    assert (block.block.tokens, block.week_tokens) == (SAMPLE, None)


def test_children_that_still_start_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that are stopped while their children start wait for none of them."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    Readers(lambda: None, NOW).start().stop()

    assert not [thread for thread in threading.enumerate() if thread.name == "history"]


def test_children_that_cannot_start_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no child process can be started, history is read all the same, which is reported once."""
    _written(tmp_path, [NOW - n * HOUR for n in range(1, 100)], 1.0)
    monkeypatch.setattr(module, "MUCH_BYTES", 0)
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    reading = _loaded(tmp_path, NOW)

    assert reading.week_tokens == 99 * SAMPLE
    assert sum("child process failed" in record.getMessage() for record in caplog.records) == 1


def test_needle_lives_while_history_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last minute is exact before any history is, and stays so while history waits for its readers."""
    claude = ClaudeHome(tmp_path)
    said = "x" * 700
    for name in ("a.jsonl", "b.jsonl"):
        now = time.time()
        claude.append(*(assistant(now - 7200 + n, n, said=said) for n in range(2000)), name=name)
        claude.append(*(assistant(now - 30 + n / 100, 10_000 + n, said=said) for n in range(1000)), name=name)
    reported: list[Reading] = []

    class Never:
        """Readers that never answer."""

        wants_tasks, idle, failed = False, False, False

        def __init__(self, *_: object) -> None:
            reported.append(source.read(time.time()))

        def take(self) -> None:
            return None

        def stop(self) -> None:
            return None

    monkeypatch.setattr(module, "MUCH_BYTES", 0)
    monkeypatch.setattr(module, "Readers", Never)
    source = Transcripts([claude.folder / "projects"])
    source.start(lambda: None)
    wait_until(lambda: reported, "the readers to be asked")
    claude.append(assistant(time.time(), 20_000))
    wait_until(lambda: _minute(source) == 1001 * SAMPLE, "the new line")
    reading = source.read(time.time())
    source.stop()

    assert reported[0].traffic
    assert reported[0].traffic.minute.total == 1000 * SAMPLE
    assert reported[0].sources["tach"].ok
    assert reading.block is None
    assert reading.sources["fuel"].why == "reading history"


def _minute(source: Transcripts) -> float:
    traffic = source.read(time.time()).traffic
    assert traffic
    return traffic.minute.total


def test_file_older_than_its_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copied file that bears a time of last year is counted by its lines' times, which is reported."""
    caplog.set_level("INFO")
    path = tmp_path / "-p" / "copied.jsonl"
    path.parent.mkdir()
    path.write_bytes(encoded(assistant(NOW - 60, 1), assistant(NOW - 3 * DAY, 2)))
    os.utime(path, (NOW - 400 * DAY, NOW - 400 * DAY))
    reading = _loaded(tmp_path, NOW)

    assert reading.block
    assert (reading.block.tokens, reading.week_tokens) == (SAMPLE, 2 * SAMPLE)
    assert "copied.jsonl bears an older time than its lines" in caplog.text


def test_line_that_is_too_long_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line that is skipped for its length is reported once, and the source says so."""
    claude = ClaudeHome(tmp_path)
    claude.append(assistant(NOW - 60, 1), assistant(NOW - 50, 2, said="x" * (9 << 20)), assistant(NOW - 40, 3))
    reading = _loaded(tmp_path / "projects", NOW)

    assert reading.block
    assert reading.block.tokens == 2 * SAMPLE
    assert (reading.sources["tach"].why, reading.sources["tach"].degraded) == ("1 lines too long", True)
    assert sum("was skipped" in record.getMessage() for record in caplog.records) == 1


def test_last_record_without_its_newline_counts_once(tmp_path: Path) -> None:
    """A whole record whose newline is still to come counts, as in ccusage, and no second time when it comes."""
    claude = ClaudeHome(tmp_path)
    path = claude.append(assistant(time.time() - 20, 1))
    with path.open("ab") as file:
        file.write(encoded(assistant(time.time() - 10, 2))[:-1])
    source = Transcripts([tmp_path / "projects"])
    source.start(lambda: None)
    wait_until(lambda: _minute(source) == 2 * SAMPLE, "the record without its newline")
    with path.open("ab") as file:
        file.write(b"\n" + encoded(assistant(time.time(), 3)))
    wait_until(lambda: _minute(source) == 3 * SAMPLE, "the line behind it")
    source.stop()
