from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path

import pytest
from tests.support.rights import no_override

from claude_gauge.sources.transcripts.tail import Tail


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder of transcripts, empty."""
    folder = tmp_path / "projects"
    folder.mkdir()
    return folder


def _write(path: Path, data: bytes, mode: str = "wb") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.write(data)
    return path


def _lines(tail: Tail, *, scan: bool = True) -> list[bytes]:
    if scan:
        tail.scan()
    found: list[bytes] = []
    for _ in range(1000):
        if not tail.behind:
            return found
        found += tail.step()
    raise AssertionError("the tail never catches up")


def test_all_transcripts_below_all_roots(root: Path, tmp_path: Path) -> None:
    """Sessions, subagents' files and other roots are found at any depth; other files are left alone."""
    _write(root / "-a" / "s.jsonl", b"1\n")
    _write(root / "-a" / "s" / "subagents" / "agent-x.jsonl", b"2\n")
    _write(root / "-a" / "notes.json", b"3\n")
    _write(tmp_path / "second" / "-b" / "s.jsonl", b"4\n")

    assert sorted(_lines(Tail([root, tmp_path / "second"]))) == [b"1", b"2", b"4"]


def test_scan_finds_what_no_hint_reported(root: Path) -> None:
    """Without any event a scan finds what is new, says what has grown, and reads it once."""
    path = _write(root / "s.jsonl", b"1\n")
    tail = Tail([root])
    _lines(tail)
    _write(path, b"2\n", "ab")

    assert tail.scan() == {str(path)}
    assert _lines(tail) == [b"2"]
    assert tail.scan() == set()
    assert _lines(tail) == []


def test_hint_reads_at_once_and_clears_the_suspicion(root: Path) -> None:
    """A hinted file is read without a scan, and a scan right after it misses nothing."""
    path = _write(root / "s.jsonl", b"1\n")
    tail = Tail([root])
    tail.hint(str(path))

    assert tail.scan() == set()
    assert _lines(tail, scan=False) == [b"1"]


def test_other_times_alone_are_no_missed_event(root: Path) -> None:
    """Changed modes and times, of which there is no event, do not look like a write that went missing."""
    path = _write(root / "s.jsonl", b"1\n")
    tail = Tail([root])
    _lines(tail)
    os.utime(path, (1, 1))
    path.chmod(0o600)

    assert tail.scan() == set()


def test_renamed(root: Path) -> None:
    """A renamed transcript is followed under its new name; its lines are reported again, for the ledger to know."""
    path = _write(root / "a.jsonl", b"1\n")
    tail = Tail([root])
    _lines(tail)
    path.rename(root / "b.jsonl")
    _write(root / "b.jsonl", b"2\n", "ab")

    assert _lines(tail) == [b"1", b"2"]
    assert len(tail) == 1


def test_deleted_and_made_again(root: Path) -> None:
    """A deleted transcript is forgotten, and one of the same name later is read from its start."""
    path = _write(root / "a.jsonl", b"1\n")
    tail = Tail([root])
    _lines(tail)
    path.unlink()
    tail.hint(str(path))

    assert _lines(tail) == []
    assert len(tail) == 0
    _write(path, b"1\n")
    assert _lines(tail) == [b"1"]


def test_folder_moved_in(root: Path, tmp_path: Path) -> None:
    """A hint of a folder is a hint of all that it holds."""
    _write(tmp_path / "elsewhere" / "deep" / "s.jsonl", b"1\n")
    tail = Tail([root])
    shutil.move(tmp_path / "elsewhere", root / "-moved")
    tail.hint(str(root / "-moved"))

    assert _lines(tail, scan=False) == [b"1"]


def test_folder_named_jsonl(root: Path) -> None:
    """A folder with a transcript's name is a folder, by hint and by scan."""
    _write(root / "odd.jsonl" / "s.jsonl", b"1\n")
    hinted, scanned = Tail([root]), Tail([root])
    hinted.hint(str(root / "odd.jsonl"))

    assert _lines(hinted, scan=False) == _lines(scanned) == [b"1"]


def test_pipe_named_jsonl(root: Path) -> None:
    """A pipe with a transcript's name is passed over, by hint and by scan."""
    os.mkfifo(root / "pipe.jsonl")
    tail = Tail([root])
    tail.hint(str(root / "pipe.jsonl"))

    assert _lines(tail) == []
    assert tail.unreadable == 0


def test_symlink_loops_end(root: Path) -> None:
    """Links to the folder itself, to its parents, to each other or to nowhere are no endless way."""
    _write(root / "-a" / "s.jsonl", b"1\n")
    (root / "-a" / "self").symlink_to(".")
    (root / "-a" / "up").symlink_to(root.parent)
    (root / "x").symlink_to(root / "y")
    (root / "y").symlink_to(root / "x")
    (root / "nowhere.jsonl").symlink_to(root / "gone")
    (root / "loop.jsonl").symlink_to(root / "loop.jsonl")

    assert _lines(Tail([root])) == [b"1"]


def test_linked_folder_outside_is_read_once(root: Path, tmp_path: Path) -> None:
    """A project that is a link to another place is read, once however many links lead there."""
    _write(tmp_path / "outside" / "s.jsonl", b"1\n")
    (tmp_path / "outside" / "again").symlink_to(tmp_path / "outside")
    (root / "-one").symlink_to(tmp_path / "outside")
    (root / "-two").symlink_to(tmp_path / "outside")
    tail = Tail([root])

    assert _lines(tail) == [b"1"]
    _write(tmp_path / "outside" / "s.jsonl", b"2\n", "ab")
    assert tail.scan() == set()  # nobody watches there, so nothing went missing
    assert _lines(tail) == [b"2"]


def test_root_that_appears_later(root: Path) -> None:
    """A root that is not there yet is no error, and is read when it comes."""
    tail = Tail([root / "later"])

    assert _lines(tail) == []
    _write(root / "later" / "s.jsonl", b"1\n")
    assert _lines(tail) == [b"1"]


def test_unreadable_file_is_reported_once_and_read_when_it_can_be(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be read is one warning, keeps none of the others waiting, and is no missed event."""
    path = _write(root / "locked.jsonl", b"locked\n")
    path.chmod(0)
    _write(root / "good.jsonl", b"1\n")
    tail = Tail([root])
    with no_override():
        first = _lines(tail)
        missed = tail.scan()
        _lines(tail)

    assert (first, missed, tail.unreadable) == ([b"1"], set(), 1)
    assert ["locked.jsonl" in record.getMessage() for record in caplog.records] == [True]
    path.chmod(0o600)
    assert _lines(tail) == [b"locked"]
    assert tail.unreadable == 0


def test_unreadable_folder_is_reported_and_read_when_it_can_be(root: Path) -> None:
    """A folder that cannot be listed counts as unreadable until it can."""
    _write(root / "locked" / "s.jsonl", b"locked\n")
    (root / "locked").chmod(0)
    tail = Tail([root])
    with no_override():
        assert _lines(tail) == []

    assert tail.unreadable == 1
    (root / "locked").chmod(0o700)
    assert _lines(tail) == [b"locked"]
    assert tail.unreadable == 0


def test_unreadable_old_file_does_not_keep_the_reader_busy(root: Path) -> None:
    """Reaching back into history ends, with a file in it that cannot be read."""
    path = _write(root / "locked.jsonl", b"locked\n")
    path.chmod(0)
    os.utime(path, (1000, 1000))
    tail = Tail([root], oldest=time.time() - 60)
    _lines(tail)
    with no_override():
        tail.reach(0)
        _lines(tail, scan=False)
        tail.reach(0)

    assert not tail.behind
    assert tail.unreadable == 1


def test_old_files_wait_until_they_are_needed(root: Path) -> None:
    """Files untouched since the limit are not read, until the limit is moved back or they grow."""
    old, older = _write(root / "old.jsonl", b"1\n"), _write(root / "older.jsonl", b"2\n")
    os.utime(old, (2000, 2000))
    os.utime(older, (1000, 1000))
    tail = Tail([root], oldest=3000)

    assert _lines(tail) == []
    tail.reach(1500)
    assert _lines(tail, scan=False) == [b"1"]
    _write(older, b"3\n", "ab")
    assert _lines(tail) == [b"2", b"3"]


def test_newest_is_read_first(root: Path) -> None:
    """Whatever the names are, what was touched last is read first."""
    for name, at in (("b", 1000), ("a", 3000), ("c", 2000)):
        os.utime(_write(root / f"{name}.jsonl", name.encode() + b"\n"), (at, at))

    assert _lines(Tail([root])) == [b"a", b"c", b"b"]


def test_long_line_is_read_to_its_end(root: Path) -> None:
    """Of two lines of megabytes one is held at a time, however many files are read by turns."""
    long = b"x" * (3 << 20)
    paths = [_write(root / name, long + b"\nend") for name in ("a.jsonl", "b.jsonl")]
    tail = Tail([root])
    for path in paths:
        tail.hint(str(path))

    reported = [step for step in (tail.step() for _ in range(200)) if step]

    assert reported == [[long], [long]]


def test_one_huge_file_keeps_none_waiting(root: Path) -> None:
    """Files are read by turns, a chunk each."""
    _write(root / "huge.jsonl", b"x" * 99 + b"\n")
    huge = root / "huge.jsonl"
    with huge.open("ab") as file:
        for _ in range(5):
            file.write((b"x" * 1023 + b"\n") * 1024)
    small = _write(root / "small.jsonl", b"small\n")
    tail = Tail([root])
    tail.hint(str(huge))
    tail.hint(str(small))
    tail.step()

    assert tail.step() == [b"small"]
    assert sum(map(len, _lines(tail, scan=False))) > 3_000_000


def test_read_that_fails_in_the_middle_is_tried_again(root: Path) -> None:
    """A moment without free descriptors loses nothing of a long file, though it never changes again."""
    lines = [b"x" * 1000 for _ in range(600)]
    _write(root / "long.jsonl", b"\n".join(lines) + b"\n")
    tail = Tail([root])
    tail.scan()
    read = tail.step()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert tail.step() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert tail.unreadable == 1

    assert read + _lines(tail) == lines
    assert tail.unreadable == 0
