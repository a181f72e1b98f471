from __future__ import annotations

import math
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import payloads

from claude_gauge.apps.terminal.dial import cube
from claude_gauge.apps.terminal.picture import Look, Scene, draw
from claude_gauge.contract.history import Slice
from claude_gauge.contract.scales import angle
from claude_gauge.contract.usage import Usage, stamp

NOON = 1_790_000_000.0
PLAIN = Look(colour=False)


def usage(**changes: object) -> Usage:
    """Make a busy payload of that noon, with some fields changed."""
    return payloads.usage(**{"updated_at": stamp(NOON), **changes})


def test_all_of_the_cluster_at_80_by_24() -> None:
    """A common terminal shows every gauge with its value, every lamp and the details."""
    picture = draw(Scene(usage(minutes_to_limit=51, window_5h_resets_at=stamp(NOON + 8040)), now=NOON), PLAIN)
    shown = ("5H PLAN", "TOKENS/MIN", "THINKING/OUTPUT", "CACHE HIT", "42 %", "500 k", "31 %", "93 %", "LIVE")
    lamps = ("● OPUS", "○ HOT", "○ WARN", "○ STALL", "○ IDLE")

    assert all(text in picture for text in (*shown, *lamps, "41.2 M", "resets in 2 h 14 min", "limit in 51 min"))


@given(columns=st.integers(1, 250), rows=st.integers(1, 80), ascii_only=st.booleans(), stale=st.booleans())
@settings(max_examples=60, deadline=None)
def test_fits_every_terminal(columns: int, rows: int, *, ascii_only: bool, stale: bool) -> None:
    """The picture has exactly the terminal's rows and never a line longer than its columns."""
    strip = [Slice(n, n * 1000.0, 0.5) if n % 3 else None for n in range(90)]
    look = Look(columns, rows, colour=False, ascii_only=ascii_only)
    lines = draw(Scene(usage(), "offline" if stale else "", NOON, strip=strip, footer="q quits"), look).split("\n")

    assert len(lines) == rows
    assert all(len(line) <= columns for line in lines)
    assert not ascii_only or all(line.isascii() for line in lines)


@pytest.mark.parametrize("columns", [80, 100, 120, 160, 250])
@pytest.mark.parametrize("redline", [100_000.0, 1_000_000.0, 4_000_000.0])
def test_tach_says_its_power(columns: int, redline: float) -> None:
    """The tachometer says by what its figures are multiplied, beside no other figure."""
    picture = draw(Scene(usage(), now=NOON), Look(columns, 50, colour=False, redline=redline))

    assert re.search("[^0-9,]\N{MULTIPLICATION SIGN} 1,000[^0-9,]", picture)
    assert "x 1,000" in draw(Scene(usage(), now=NOON), Look(columns, 50, colour=False, ascii_only=True))


def test_stale_cannot_be_mistaken_for_live() -> None:
    """A stale picture has a warning, no figure, no live mark, needles on the stop, and only STALL shining."""
    picture = draw(Scene(usage(hot=True), "publisher offline", NOON), PLAIN)

    assert "STALE: publisher offline" in picture
    assert "● STALL" in picture
    assert not any(text in picture for text in ("LIVE", "42 %", "● HOT", "OPUS"))


def test_nothing_heard_yet() -> None:
    """Before the first payload the cluster is dark and says why."""
    picture = draw(Scene(None), PLAIN)

    assert "STALE: nothing received yet" in picture
    assert "--" in picture


def test_no_colour_means_no_escapes() -> None:
    """Without colour not one escape code is written."""
    assert "\x1b" not in draw(Scene(usage(), now=NOON), PLAIN)
    assert "\x1b[38;5;" in draw(Scene(usage(), now=NOON), Look())


def test_colour_changes_no_character() -> None:
    """With its colours taken away the picture is the one without."""
    painted = draw(Scene(usage(), now=NOON), Look())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", painted)

    assert [line.rstrip() for line in plain.split("\n")] == draw(Scene(usage(), now=NOON), PLAIN).split("\n")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_needle_points_at_its_value(share: float) -> None:
    """The needle's tip lies in the direction of the value's angle."""
    look = Look(120, 40, colour=False, ascii_only=True)
    lines = draw(Scene(usage(window_5h_pct=share), now=NOON), look).split("\n")
    stars = [
        (x, 2 * y) for y, line in enumerate(lines) for x, each in enumerate(line[:30]) if each == "*" and 2 < y < 17
    ]
    hub = [(x, 2 * y) for y, line in enumerate(lines) for x, each in enumerate(line[:30]) if each == "o" and 2 < y < 17]
    middle = (sum(x for x, _ in hub) / len(hub), sum(y for _, y in hub) / len(hub))
    tip = max(stars, key=lambda each: math.dist(each, middle))
    pointed = math.degrees(math.atan2(tip[0] - middle[0], middle[1] - tip[1]))

    assert abs((pointed - angle(share) + 180) % 360 - 180) < 12


def test_escape_codes_in_a_model_name() -> None:
    """A model name can neither move the cursor nor clear the screen nor upset the columns."""
    picture = draw(Scene(usage(last_model="\x1b[2J\r\n模型"), now=NOON), PLAIN)

    assert "\x1b" not in picture
    assert "\r" not in picture
    assert len(picture.split("\n")) == 24
    assert not any(unicodedata.east_asian_width(each) in "WF" for each in picture)


def test_needles_where_they_are_just_now() -> None:
    """An animation may place the needles itself."""
    moved = draw(Scene(usage(), now=NOON, needles=(1, 1, 1, 1)), PLAIN)

    assert moved != draw(Scene(usage(), now=NOON), PLAIN)


def test_sparkline_scales_to_its_highest() -> None:
    """The highest minute reaches the top of the strip; a gap stays empty."""
    strip = [Slice(0, 100.0, 0.1), None, Slice(2, 50.0, 0.1)] * 26
    picture = draw(Scene(usage(), now=NOON, strip=strip), Look(80, 24, colour=False))
    bottom = max(number for number, line in enumerate(picture.split("\n")) if "█ █" in line)

    assert picture.split("\n")[bottom].strip().startswith("█ ")


def test_unwell_source_is_reported() -> None:
    """A source in trouble is named with its reason."""
    part = {"tach": {"source": "prometheus", "ok": False, "why": "connection refused"}}

    assert "tach (prometheus: connection refused)" in draw(Scene(usage(sources=part), now=NOON), PLAIN)


@pytest.mark.parametrize(("colour", "number"), [("#000000", 232), ("#ffffff", 255), ("#ff0000", 196), ("#8a8a8a", 245)])
def test_nearest_terminal_colour(colour: str, number: int) -> None:
    """A colour becomes the nearest of the terminal's 256."""
    assert cube(colour) == number
