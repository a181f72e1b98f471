from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.claude_events import SAMPLES

from claude_gauge.hooks import quick_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES)
def test_same_as_json(value: object) -> None:
    """It writes and reads exactly what the json module does."""
    assert quick_json.dumps(value) == json.dumps(value)
    assert repr(quick_json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))) == repr(
        json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    )


@pytest.mark.parametrize("name", ["statusline.ndjson", "hook.ndjson"])
def test_captured(name: str) -> None:
    """What Claude Code was seen to send is read as the json module reads it."""
    for line in (SAMPLES / name).read_bytes().splitlines():
        assert quick_json.loads(b" \n" + line + b"\n") == json.loads(line)


@pytest.mark.parametrize("garbage", [b"", b" ", b"{", b'{"a":}', b"nul", b"[1,", b"{'a': 1}", b"\x00", b"\xff\xfe"])
def test_garbage(garbage: bytes) -> None:
    """What is no JSON is a ValueError, as from the json module."""
    with pytest.raises(ValueError, match=r".*"):
        quick_json.loads(garbage)


def test_too_deep() -> None:
    """Nesting without end is an error, never a crash."""
    with pytest.raises(RecursionError):
        quick_json.loads(b"[" * 1_000_000)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), object(), b"x", (1,)])
def test_what_is_no_json_is_null(odd: object) -> None:
    """A figure that JSON can't hold is stored as unknown."""
    assert quick_json.dumps([odd]) == "[null]"


def demanding_scanner(plain: object) -> object:
    """A scanner of a later Python, which asks for something new."""
    return plain.not_known_yet  # type: ignore[attr-defined]


@pytest.mark.parametrize("scanner", [None, demanding_scanner])
def test_without_the_c_code(monkeypatch: pytest.MonkeyPatch, scanner: object) -> None:
    """An interpreter whose C code is missing or different takes the slow way to the same result."""
    monkeypatch.setattr(quick_json, "make_scanner", scanner)

    assert quick_json.loads(b'{"a": ["\xc3\xa4", 1.5]}') == {"a": ["ä", 1.5]}
    assert quick_json.dumps({"ä": '"'}) == '{"\\u00e4": "\\""}'
