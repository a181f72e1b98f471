from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.sources.transcripts.follower import CHUNK, LEAP, Follower, read_stretch


def _all(follower: Follower) -> list[bytes]:
    """Read what is new, and then what was left out to get there."""
    found, more = follower.read()
    while more:
        lines, more = follower.read()
        found += lines
    gap, follower.gap = follower.gap, None
    return [line for some in read_stretch(follower.path, *gap) for line in some] + found if gap else found


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
from claude_gauge.sources.transcripts.follower import Follower, read_stretch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
follower, lines, more = Follower(sys.argv[1]), [], True
while more:
    found, more = follower.read()
    lines += found
lines += [line for some in read_stretch(sys.argv[1], *follower.gap) for line in some]
print(lines, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(256 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\nnext\n")
    reported = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    lines, grown = reported.rsplit(maxsplit=1)

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


def test_much_is_read_from_its_end(path: Path) -> None:
    """Of more than can be read at once the last line comes first, and the gap holds all others."""
    lines = [b"%07d" % n for n in range(LEAP // 4)]
    path.write_bytes(b"\n".join(lines) + b"\n" + b"half")
    follower = Follower(str(path))
    first = follower.read()
    with path.open("ab") as file:
        file.write(b" a line\n")

    assert first == ([], False)
    assert follower.gap
    assert [line for some in read_stretch(str(path), *follower.gap) for line in some] == lines
    assert follower.read() == ([b"half a line"], False)


def test_record_without_its_newline(path: Path) -> None:
    """A last record that lacks nothing but its newline is reported at once, and again with it."""
    follower = Follower(str(path))
    path.write_bytes(b'{"a":1}\n{"b":2')
    before = _all(follower)
    with path.open("ab") as file:
        file.write(b"}")
    whole = _all(follower)
    with path.open("ab") as file:
        file.write(b"\n")

    assert before == [b'{"a":1}']
    assert whole == _all(follower) == [b'{"b":2}']


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 400)), st.sampled_from([b"", b"\n", b"rest"]))
def test_stretches_may_be_cut_anywhere(parts: list[bytes], cuts: list[int], end: bytes) -> None:
    """Any cuts of a file into stretches give each whole line once; an unfinished last one is in none."""
    data = b"".join(part.replace(b"\n", b"") + b"\n" for part in parts) + end
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(data)
        file.flush()
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        found = [
            line
            for start, stop in itertools.pairwise(edges)
            for some in read_stretch(file.name, start, stop)
            for line in some
        ]

    assert found == data.split(b"\n")[:-1]
