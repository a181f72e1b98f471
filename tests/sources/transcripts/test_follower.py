from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from claude_gauge.sources.transcripts.follower import CHUNK, Follower


def _all(follower: Follower) -> list[bytes]:
    found, more = follower.read()
    while more:
        lines, more = follower.read()
        found += lines
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a transcript that does not exist yet."""
    return tmp_path / "session.jsonl"


def test_only_what_is_new(path: Path) -> None:
    """Each line is read once, in order, as the file grows."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n")
    first = _all(follower)
    with path.open("ab") as file:
        file.write(b"3\n")

    assert first == [b"1", b"2"]
    assert _all(follower) == [b"3"]
    assert _all(follower) == []


def test_half_line(path: Path) -> None:
    """A line caught in mid-write comes when it is whole."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2 and")
    first = _all(follower)
    with path.open("ab") as file:
        file.write(b" a half\n")

    assert first == [b"1"]
    assert _all(follower) == [b"2 and a half"]


def test_line_longer_than_a_chunk(path: Path) -> None:
    """A line of several chunks comes out whole."""
    path.write_bytes(b"x" * (3 * CHUNK) + b"\nshort\n")

    assert [len(line) for line in _all(Follower(str(path)))] == [3 * CHUNK, 5]


def test_line_above_8_mib_is_not_held_in_memory(tmp_path: Path) -> None:
    """A line of 256 MiB costs no more memory than a chunk of it, and the next line is read."""
    script = """
import resource, sys
from claude_gauge.sources.transcripts.follower import Follower
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
follower, lines, more = Follower(sys.argv[1]), [], True
while more:
    found, more = follower.read()
    lines += found
print(lines, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(256 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\nnext\n")
    told = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    lines, grown = told.rsplit(maxsplit=1)

    assert lines == "[b'next']"
    assert int(grown) < 40


def test_truncated(path: Path) -> None:
    """A file cut short is read again from its start."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n3\n")
    _all(follower)
    path.write_bytes(b"4\n")

    assert _all(follower) == [b"4"]


def test_truncated_and_grown_past_the_offset(path: Path) -> None:
    """A file that was cut and has already outgrown its old length is noticed by what stands before the offset."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n3\n")
    _all(follower)
    path.write_bytes(b"4\n5\n6\n7\n8\n")

    assert _all(follower) == [b"4", b"5", b"6", b"7", b"8"]


def test_truncated_in_the_middle_of_a_held_line(path: Path) -> None:
    """The half line of before is not glued to what the file begins with now."""
    follower = Follower(str(path))
    path.write_bytes(b"1\nhalf of a lin")
    _all(follower)
    path.write_bytes(b"e\n2\n")

    assert _all(follower) == [b"e", b"2"]


def test_replaced(path: Path) -> None:
    """Another file under the same name is read from its start."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n")
    _all(follower)
    other = path.with_name("new")
    other.write_bytes(b"3\n4\n5\n")
    other.replace(path)

    assert _all(follower) == [b"3", b"4", b"5"]


def test_inode_used_again_at_the_same_size(path: Path) -> None:
    """A new file that got the old one's inode, and has its very length, is a new file all the same."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n")
    _all(follower)
    inode = path.stat().st_ino
    path.write_bytes(b"3\n4\n")

    assert path.stat().st_ino == inode
    assert _all(follower) == [b"3", b"4"]


def test_rewritten_in_place_with_the_same_beginning(path: Path) -> None:
    """A compaction that keeps the first lines and changes later ones is read again."""
    follower = Follower(str(path))
    path.write_bytes(b"1\n2\n3\n4\n")
    _all(follower)
    path.write_bytes(b"1\n2\nfive\nsix\n")

    assert _all(follower) == [b"1", b"2", b"five", b"six"]


def test_nul_run_where_a_block_was_lost(path: Path) -> None:
    """NUL bytes come through as they are, inside the line that they are in."""
    path.write_bytes(b"1\n" + b"\0" * 10_000 + b"2\n")

    assert _all(Follower(str(path))) == [b"1", b"\0" * 10_000 + b"2"]


def test_deleted_file_is_an_error_for_the_caller(path: Path) -> None:
    """A file that is gone raises; what to do is the tail's affair."""
    with pytest.raises(FileNotFoundError):
        Follower(str(path)).read()


def test_pipe_and_folder_hold_nobody_up(path: Path) -> None:
    """A pipe or a folder named as a transcript gives no lines and never blocks."""
    os.mkfifo(path)
    folder = path.with_name("folder.jsonl")
    folder.mkdir()

    assert Follower(str(path)).read() == ([], False)
    assert Follower(str(folder)).read() == ([], False)


def test_no_descriptor_stays_open(path: Path) -> None:
    """Thousands of files are followed without holding them open, whatever happens."""
    path.write_bytes(b"1\n")
    before = len(list(Path("/dev/fd").iterdir()))
    followers = [Follower(str(path)) for _ in range(50)]
    for follower in followers:
        follower.read()

    assert len(list(Path("/dev/fd").iterdir())) == before


def test_tail_of_a_file_begins_at_a_whole_line(path: Path) -> None:
    """The last bytes give whole lines only, and move nothing; a file no longer than that waits to be read whole."""
    path.write_bytes(b"first line\nsecond\nthird\nhalf")
    follower = Follower(str(path))

    assert follower.read_tail(16) == [b"third"]
    assert follower.read_tail(1000) == []
    assert _all(follower) == [b"first line", b"second", b"third"]
