from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.apps.fleet.conftest import usage

from claude_gauge.contract.usage import Usage, stamp
from claude_gauge.daemon.lifetime import EVERY_S, KeptWindow

NOW = 1_763_900_000.0


def _busy(**more: object) -> Usage:
    known = {"window_5h_tokens": 5000, "window_5h_pct": 0.5, "window_5h_resets_at": stamp(NOW + 3600), "rate_1m": 9.0}
    return usage(**{**known, "fuel_source": "ceiling", "last_model": "opus", **more})


def test_window_survives_a_restart(tmp_path: Path) -> None:
    """What was published of the window is there again, at rest in all else, until the window resets."""
    kept = KeptWindow(tmp_path, "n", "work")
    kept(_busy(), b"")
    again = KeptWindow(tmp_path, "n", "work").load(NOW)

    assert again
    assert (again.window_5h_tokens, again.window_5h_pct, again.last_model) == (5000, 0.5, "opus")
    assert (again.rate_1m, again.stall, again.fuel_source) == (0, True, None)
    assert KeptWindow(tmp_path, "n", "work").load(NOW + 3600) is None
    assert KeptWindow(tmp_path, "n", "home").load(NOW) is None


def test_figures_that_are_not_known_are_not_kept(tmp_path: Path) -> None:
    """A figure that itself was kept, or has no window that ends, replaces nothing."""
    kept = KeptWindow(tmp_path, "n", None)
    kept(_busy(fuel_source=None), b"")
    kept(_busy(window_5h_resets_at=None), b"")
    kept.stop()

    assert KeptWindow(tmp_path, "n", None).load(NOW) is None


def test_growth_is_written_once_a_minute_and_at_the_end(tmp_path: Path) -> None:
    """The disk is left alone: one write a minute, and the last figure when the publisher ends."""
    times = iter([0.0, 1.0, EVERY_S - 1, EVERY_S, EVERY_S, EVERY_S + 1, EVERY_S + 2])
    kept, written = KeptWindow(tmp_path, "n", None, steady=lambda: next(times)), []
    for tokens in (1, 2, 3, 4, 5):
        kept(_busy(window_5h_tokens=tokens), b"")
        written.append(json.loads((tmp_path / "n.window.json").read_bytes())["window_5h_tokens"])
    kept.stop()

    assert written == [1, 1, 1, 4, 4]
    again = KeptWindow(tmp_path, "n", None).load(NOW)
    assert again
    assert again.window_5h_tokens == 5


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"window_5h_resets_at": 5, "account": null}', b"\xff", b'{"window_5h_pct": 7}']
)
def test_garbage_on_disk_is_nothing_known(content: bytes, tmp_path: Path) -> None:
    """A file that was damaged costs a needle at rest for a moment, no more."""
    (tmp_path / "n.window.json").write_bytes(content)

    assert KeptWindow(tmp_path, "n", None).load(NOW) is None


def test_window_of_a_wrong_clock_is_not_believed(tmp_path: Path) -> None:
    """A reset further away than any 5-hour window's is garbage."""
    KeptWindow(tmp_path, "n", None)(_busy(window_5h_resets_at=stamp(NOW + 6 * 3600)), b"")

    assert KeptWindow(tmp_path, "n", None).load(NOW) is None


def test_disk_that_fails_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that can't be written costs one warning, not one a minute, and stops nothing."""
    (tmp_path / "file").write_text("")
    times = iter(range(0, 1000, 100))
    kept = KeptWindow(tmp_path / "file" / "state", "n", None, steady=lambda: float(next(times)))
    for tokens in (1, 2, 3):
        kept(_busy(window_5h_tokens=tokens), b"")

    assert caplog.text.count("cannot write") == 1
