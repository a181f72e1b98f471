"""The source as it runs: real file events, a real scan, threads of its own."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.net import wait_until
from tests.support.rights import no_override
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant, encoded

from claude_gauge.counting.reading import Reading
from claude_gauge.sources.source import Source
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.system.inotify import Inotify


class Following:
    """A running source and the questions that the tests put to it."""

    def __init__(self, *roots: Path, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.source = Transcripts(roots, clock)
        self.source.start(lambda: None)

    @property
    def reading(self) -> Reading:
        """What is known now."""
        return self.source.read(self.clock())

    def tokens(self) -> int:
        """Tokens of the present block; -1 while it is not known."""
        block = self.reading.block
        return block.tokens if block else -1

    def wait_for(self, responses: int) -> None:
        """Wait until just so many responses are counted."""
        wait_until(
            lambda: self.tokens() == responses * SAMPLE,
            f"{responses} responses, not {self.tokens() / SAMPLE}",
        )

    def settled(self) -> None:
        """Wait until all history is read."""
        wait_until(lambda: self.reading.sources["fuel"].why != "reading history", "the history to be read")


@pytest.fixture
def following(claude: ClaudeHome) -> Iterator[Following]:
    """Follow that folder."""
    running = Following(claude.folder / "projects")
    running.settled()
    yield running
    running.source.stop()


def _line(number: int, ago: float = 1.0) -> dict[str, object]:
    return assistant(time.time() - ago, number)


def test_it_is_a_source(following: Following) -> None:
    """The transcripts keep to the protocol that the publisher expects."""
    source: Source = following.source

    assert source.due(time.time()) is None


def test_appended_lines_count_once(following: Following, claude: ClaudeHome) -> None:
    """Lines that are appended, repeated, split and forked while we look are counted once."""
    claude.append(_line(1), _line(1))
    claude.append(_line(1), _line(2), name="fork.jsonl")
    following.wait_for(2)
    data = encoded(_line(3), _line(4))
    for start in range(0, len(data), 100):
        with (claude.project / "session.jsonl").open("ab", buffering=0) as file:
            file.write(data[start : start + 100])

    following.wait_for(4)
    assert following.reading.sources["tach"].ok


def test_of_a_huge_file_what_happened_last_is_known_first(claude: ClaudeHome) -> None:
    """A session of many megabytes shows its present rate before its beginning is read."""
    claude.append(*(_line(n, ago=7200) for n in range(3000)), _line(3000))
    at_first: list[float] = []
    source = Transcripts([claude.folder / "projects"])

    def changed() -> None:
        traffic = source.read(time.time()).traffic
        at_first.append(traffic.minute.total if traffic else 0)

    source.start(changed)
    source.stop()

    assert at_first[0] == SAMPLE


def test_new_projects_and_subagents(following: Following, claude: ClaudeHome) -> None:
    """New folders at any depth are followed from their first line on."""
    claude.append(_line(1), name="session/subagents/agent-1.jsonl")
    claude.append(_line(2), name="../-home-other/s.jsonl")
    following.wait_for(2)
    claude.append(_line(3), name="session/subagents/agent-1.jsonl")

    following.wait_for(3)


def test_folder_filled_before_it_is_watched(following: Following, claude: ClaudeHome) -> None:
    """Deep folders that are made and filled in one go, faster than a watch can be set, lose nothing."""
    for n in range(100):
        claude.append(_line(n), name=f"../-p{n}/deep/er/s.jsonl")

    following.wait_for(100)


def test_folder_moved_in(following: Following, claude: ClaudeHome, tmp_path: Path) -> None:
    """A folder full of transcripts that is moved in is read, and followed from then on."""
    outside = ClaudeHome(tmp_path / "outside")
    outside.append(_line(1), _line(2))
    shutil.move(outside.project, claude.folder / "projects" / "-moved")
    following.wait_for(2)
    claude.append(_line(3), name="../-moved/session.jsonl")

    following.wait_for(3)


def test_rename_replacement_truncation_deletion(following: Following, claude: ClaudeHome) -> None:
    """What happens to a file on the way neither loses a line nor counts one twice."""
    path = claude.append(_line(1))
    following.wait_for(1)
    path = path.rename(path.with_name("renamed.jsonl"))
    claude.append(_line(2), name=path.name)
    following.wait_for(2)
    other = path.with_suffix(".tmp")
    other.write_bytes(encoded(_line(1), _line(3)))
    other.replace(path)
    following.wait_for(3)
    path.write_bytes(encoded(_line(4)))
    following.wait_for(4)
    path.unlink()
    claude.append(_line(5), name=path.name)

    following.wait_for(5)


def test_root_that_appears_later(tmp_path: Path) -> None:
    """A missing root is said, found when it comes, and found again when it is replaced."""
    root = tmp_path / "claude" / "projects"
    following = Following(root)
    try:
        missing = following.reading.sources["tach"]
        home = ClaudeHome(tmp_path / "claude")
        home.append(_line(1))
        following.wait_for(1)
        shutil.rmtree(root)
        home.append(_line(2))
        following.wait_for(2)
        home.append(_line(3))
        following.wait_for(3)
    finally:
        following.source.stop()

    assert (missing.ok, missing.degraded, missing.why) == (False, False, "no transcripts folder")


def test_linked_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A root that is a link is followed like any other, without a complaint."""
    real = ClaudeHome(tmp_path / "real")
    (tmp_path / "link").symlink_to(real.folder / "projects")
    following = Following(tmp_path / "link")
    following.settled()
    real.append(_line(1), name="../-new/s.jsonl")
    following.wait_for(1)
    following.source.stop()

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_pipe_named_jsonl_holds_nobody_up(following: Following, claude: ClaudeHome) -> None:
    """A pipe that somebody makes among the transcripts does not stop the reader."""
    os.mkfifo(claude.project / "pipe.jsonl")
    (claude.project / "folder.jsonl").mkdir()
    claude.append(_line(1))

    following.wait_for(1)


def test_unreadable_file_is_said(claude: ClaudeHome) -> None:
    """A file that cannot be read is reported as degraded, and nothing else suffers: no polling, no STALL."""
    claude.append(_line(1), name="locked.jsonl").chmod(0)
    with no_override():
        following = Following(claude.folder / "projects")
    try:
        following.settled()
        claude.append(_line(2))
        following.wait_for(1)
        health = following.reading.sources["tach"]
        claude.project.joinpath("locked.jsonl").chmod(0o644)
        following.wait_for(2)
        wait_until(lambda: following.reading.sources["tach"].ok, "health again")
    finally:
        following.source.stop()

    assert (health.ok, health.degraded, health.why) == (False, True, "1 unreadable")


def test_events_that_ended_begin_again(following: Following, claude: ClaudeHome) -> None:
    """Events of a root that ended by themselves begin again, and what was missed is found."""
    ((_, events),) = following.source._watch.roots.values()
    assert isinstance(events, Inotify)
    events._forget(str(claude.folder / "projects"))
    claude.append(_line(1))
    following.wait_for(1)
    wait_until(lambda: [each for _, each in following.source._watch.roots.values()] != [events], "other events")
    claude.append(_line(2))

    following.wait_for(2)


def test_events_that_go_missing_are_noticed(
    following: Following, claude: ClaudeHome, caplog: pytest.LogCaptureFixture
) -> None:
    """On a file system without events, as NFS, a scan finds the lines, `sources` is degraded, the watch is renewed."""
    ((_, events),) = following.source._watch.roots.values()
    assert isinstance(events, Inotify)
    events._forget(str(claude.project))
    for n in range(1, 4):
        claude.append(_line(n))
        following.wait_for(n)

    wait_until(
        lambda: following.reading.sources["tach"].why == "file events missed", "the missing events to be noticed"
    )
    assert following.reading.sources["tach"].degraded
    assert any("file events go missing" in record.getMessage() for record in caplog.records)
    ((_, renewed),) = following.source._watch.roots.values()
    assert renewed is not events


def test_no_handler_error_ends_the_watch(
    following: Following, claude: ClaudeHome, caplog: pytest.LogCaptureFixture
) -> None:
    """A surprise in the reader is reported in full and then it goes on."""

    class Broken:
        behind = True

        def __getattr__(self, name: str) -> object:
            raise RuntimeError("surprise")

    whole = following.source._tail
    following.source._tail = Broken()  # type: ignore[assignment]
    following.source._hints.put(None)
    wait_until(lambda: "surprise" in caplog.text, "the surprise to be reported")
    following.source._tail = whole
    claude.append(_line(1))

    following.wait_for(1)


def test_clock_set_back_by_days_counts_anew(claude: ClaudeHome) -> None:
    """A clock that was years ahead, as on a board without a battery, leaves nothing forgotten or uncounted."""
    ahead = [400 * 86400.0]
    claude.append(_line(1))
    following = Following(claude.folder / "projects", clock=lambda: time.time() + ahead[0])
    try:
        following.settled()
        lost = following.tokens()
        ahead[0] = 0.0
        following.wait_for(1)
        claude.append(_line(2))
        following.wait_for(2)
        rate = following.reading.traffic
    finally:
        following.source.stop()

    assert lost == 0
    assert rate
    assert rate.minute.total == 2 * SAMPLE


@pytest.mark.parametrize("hours", [5, -5])
def test_clock_jump_of_five_hours(hours: int, following: Following, claude: ClaudeHome) -> None:
    """After a jump either way, lines by the new clock move the tach at once and the old ones do not."""
    claude.append(_line(1))
    following.wait_for(1)
    now = time.time() + hours * 3600
    following.clock = following.source._clock = lambda: now
    claude.append(assistant(now - 1, 2, model="claude-haiku-5-5"))

    def moved() -> bool:
        traffic = following.reading.traffic
        return bool(traffic and traffic.minute.total == SAMPLE and traffic.model == "haiku")

    wait_until(moved, "the line by the new clock, alone")


def test_scan_that_finds_nothing_calls_for_no_look(claude: ClaudeHome, caplog: pytest.LogCaptureFixture) -> None:
    """A scan alone makes no payload and no look at the figures: the next line would wait for a tenth of a second."""
    caplog.set_level("INFO", "claude_gauge")
    looks: list[float] = []
    claude.append(_line(1))
    source = Transcripts([claude.folder / "projects"])
    source.start(lambda: looks.append(time.monotonic()))
    wait_until(lambda: source.read(time.time()).week_tokens == SAMPLE, "all history")

    def scan(number: int) -> int:
        source._hints.put(None)
        wait_until(lambda: caplog.text.count("events were lost") == number, "a scan")
        return len(looks)

    scan(1)
    after = [scan(number) for number in (2, 3, 4)]
    source.stop()

    assert len({*after, len(looks)}) == 1


def test_stop_ends_every_thread(following: Following) -> None:
    """After `stop`, called twice, the source's thread has ended, and no folder is watched."""
    thread = following.source._thread
    following.source.stop()
    following.source.stop()

    assert thread
    assert not thread.is_alive()
    assert not following.source._watch.roots
