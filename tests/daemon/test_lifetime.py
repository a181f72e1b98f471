from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.test_publisher import NOW, Scripted

from claude_gauge.counting.reading import Reading
from claude_gauge.daemon.lifetime import Lifetime

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Remembering(Scripted):
    """A source that knows minutes, as far back as it keeps them."""

    def __init__(self) -> None:
        super().__init__(lambda _: Reading(), lambda _: None)
        self.minutes: dict[int, int] = {}
        self.whole = True

    def use(self, at: float, tokens: int) -> None:
        """Count tokens."""
        self.minutes[int(at // 60)] = self.minutes.get(int(at // 60), 0) + tokens

    def forget(self, before: float) -> None:
        """Lose what is older, as deleted transcripts do."""
        self.minutes = {minute: tokens for minute, tokens in self.minutes.items() if minute * 60 >= before}

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Answer as sources do."""
        if not self.whole:
            return None
        return {minute: tokens for minute, tokens in self.minutes.items() if since < minute * 60 + 59 < now + 60}


def lifetime(folder: Path, source: Remembering, at: list[float]) -> Lifetime:
    """A sum as a start of the publisher makes it."""
    made = Lifetime(folder, "n", source, steady=lambda: at[0])
    made.start()
    return made


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["use", "late", "restart", "crash"]),
            st.floats(1, 2 * DAY_S),
            st.integers(1, 10**6),
        ),
        max_size=25,
    )
)
def test_grows_by_what_was_used(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float, int]]) -> None:
    """Over restarts, crashes, late lines and deleted transcripts the sum is all that was ever used, and never falls."""
    folder, source, at = tmp_path_factory.mktemp("state"), Remembering(), [NOW]
    kept, used = lifetime(folder, source, at), 0
    for what, pause, tokens in steps:
        at[0] += pause
        if what in {"use", "late"}:
            source.use(at[0] - (HOUR_S if what == "late" else 0), tokens)
            used += tokens
        else:
            if what == "restart":
                kept.stop()
            kept = lifetime(folder, source, at)
        at[0] += 3
        total = kept.total(at[0])
        source.forget(at[0] - 8 * DAY_S)
        kept.stop()

        assert total == used


def test_unknown_until_the_past_is_known(tmp_path: Path) -> None:
    """While history is read, the sum of the last run stands; at a first start it is unknown, not zero."""
    source, at = Remembering(), [NOW]
    source.whole = False
    first = lifetime(tmp_path, source, at)
    unknown = first.total(NOW)
    source.whole = True
    source.use(NOW, 500)
    at[0] += 3
    known = first.total(NOW)
    first.stop()
    source.whole = False

    assert (unknown, known) == (None, 500)
    assert lifetime(tmp_path, source, at).total(NOW) == 500


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"settled": -1, "mark": 1, "total": 1}', b'{"settled": "9"}'])
def test_damaged_file(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file of another shape is reported, and the sum begins again."""
    (tmp_path / "n.lifetime.json").write_bytes(content)
    source = Remembering()
    source.use(NOW, 7)

    assert lifetime(tmp_path, source, [NOW]).total(NOW) == 7
    assert "lifetime" in caplog.text


def test_disk_that_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that can't be written is reported once and stops nothing."""
    (tmp_path / "state").write_text("a file where a folder should be")
    source = Remembering()
    source.use(NOW, 7)
    kept = Lifetime(tmp_path / "state", "n", source)
    total = kept.total(NOW)
    kept.stop()
    kept.stop()

    assert total == 7
    assert caplog.text.count("cannot write") == 1


def test_file_holds_counts_only(tmp_path: Path) -> None:
    """What is stored is three numbers."""
    source = Remembering()
    source.use(NOW, 7)
    kept = lifetime(tmp_path, source, [NOW])
    kept.total(NOW)
    kept.stop()

    assert set(json.loads((tmp_path / "n.lifetime.json").read_text())) == {"settled", "mark", "total"}
