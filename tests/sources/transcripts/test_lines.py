from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.sources.transcripts.follower import Lines


def test_half_line_waits_for_its_newline() -> None:
    """A line caught in mid-write comes out once, whole, when its newline arrives."""
    lines = Lines()

    assert lines.feed(b'{"type":"assi') == []
    assert len(lines.rest) == 13
    assert lines.feed(b'stant"}\n{"a"') == [b'{"type":"assistant"}']
    assert lines.feed(b":1}\n\n") == [b'{"a":1}', b""]
    assert len(lines.rest) == 0


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 200)))
def test_pieces_do_not_matter(parts: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, the same lines come out."""
    data = b"\n".join(parts)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    lines = Lines()
    found = [line for low, high in itertools.pairwise(edges) for line in lines.feed(data[low:high])]

    assert found == data.split(b"\n")[:-1]
    assert len(lines.rest) == len(data) - (data.rfind(b"\n") + 1)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 9))
def test_overlong_line_is_skipped_and_the_next_is_not(parts: list[bytes], size: int) -> None:
    """A line above the limit is dropped without being held, whatever the pieces; all others come through."""
    data = b"".join(part.replace(b"\n", b"") + b"\n" for part in parts)
    lines = Lines(longest=16)
    found: list[bytes] = []
    for start in range(0, len(data), size):
        found += lines.feed(data[start : start + size])

        assert len(lines.rest) <= 16

    whole = data.split(b"\n")[:-1]
    assert found == [line for line in whole if len(line) <= 16]
    assert lines.skipped == sum(len(line) > 16 for line in whole)
