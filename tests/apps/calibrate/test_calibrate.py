from __future__ import annotations

import json
import os
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.claude_events import run, status

from claude_gauge.apps.calibrate.propose import Past, ceiling, redline, round_up, set_values
from claude_gauge.contract.usage import stamp
from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.sums import Span
from claude_gauge.sources.statusline.plan_figures import WindowUse

HOUR = 3600.0
NOON = 1_795_435_200.0


def past(*responses: tuple[float, float]) -> Past:
    """Responses of this many fresh tokens at these times."""
    return Past([(at, Tokens(output=tokens)) for at, tokens in responses])


def test_ceiling_by_plan_percentage() -> None:
    """Half full at 500,000 tokens means full at a million: only the window's own tokens up to that moment count."""
    used = past((NOON - 1, 9e6), (NOON, 200_000), (NOON + HOUR, 300_000), (NOON + 2 * HOUR, 7e6))
    proposal = ceiling(used, [], [WindowUse(NOON + 5 * HOUR, 0.5, NOON + HOUR + 1)], NOON)

    assert proposal.value == 1_000_000
    assert any("50% at 500,000 tokens, so full at 1,000,000" in reason for reason in proposal.reasons)


def test_middle_of_several_windows() -> None:
    """One window that is far off does not move the proposal."""
    used = past(*((NOON + day * 86400, 1e6) for day in range(3)))
    windows = [
        WindowUse(NOON + day * 86400 + HOUR, share, NOON + day * 86400 + 60)
        for day, share in enumerate((0.5, 0.4, 0.9))
    ]

    assert ceiling(used, [], windows, NOON).value == 2_000_000


def test_coarse_percentages_count_only_alone() -> None:
    """The plan reports whole percents: 1 % says nothing, and 6 % only where nothing better is known."""
    used = past((NOON, 60_000), (NOON + 86400, 500_000))
    tiny, small = WindowUse(NOON + HOUR, 0.01, NOON + 1), WindowUse(NOON + HOUR, 0.06, NOON + 1)
    good = WindowUse(NOON + 86400 + HOUR, 0.5, NOON + 86400 + 1)

    assert ceiling(used, [], [tiny], NOON).value is None
    assert ceiling(used, [], [small], NOON).value == 1_000_000
    assert ceiling(used, [], [small, good], NOON).value == 1_000_000
    assert ceiling(used, [], [WindowUse(NOON + HOUR, 0.12, NOON + 1), good], NOON).value == 1_000_000


def test_window_without_its_tokens() -> None:
    """A percentage whose tokens were used on another machine says nothing here."""
    assert ceiling(past((NOON - 86400, 5)), [], [WindowUse(NOON + HOUR, 0.5, NOON)], NOON).value is None


def test_absurd_windows() -> None:
    """A window that would be full with less than was used elsewhere, or that the plan took use back in, is left out."""
    used = past((NOON, 37_000), (NOON + 86400, 500_000), (NOON + 2 * 86400, 2e6))
    slip = WindowUse(NOON + HOUR, 1.0, NOON + 1)
    early = WindowUse(NOON + 86400 + HOUR, 1.0, NOON + 86400 + 1)
    fell = WindowUse(NOON + 2 * 86400 + HOUR, 0.1, NOON + 2 * 86400 + 1, fell=True)
    good = WindowUse(NOON + 2 * 86400 + HOUR, 0.5, NOON + 2 * 86400 + 1)
    blocks = [Span(NOON - 20 * HOUR, 0, 0, 2_000_000)]

    assert ceiling(used, [], [slip, fell], NOON).value is None
    assert ceiling(used, blocks, [slip, early, fell], NOON).value == 2_000_000
    proposal = ceiling(used, blocks, [slip, early, fell, good], NOON)
    assert proposal.value == 4_000_000
    assert any(reason.startswith("3 left out: ") for reason in proposal.reasons)


def test_fullest_block_without_a_plan() -> None:
    """Without plan percentages the fullest finished block stands in; the running one may still grow."""
    blocks = [Span(NOON - 20 * HOUR, 0, 0, 1000), Span(NOON - 10 * HOUR, 0, 0, 12_340), Span(NOON - HOUR, 0, 0, 99_999)]
    proposal = ceiling(past(), blocks, [], NOON)

    assert proposal.value == 13_000
    assert any("12,340" in reason for reason in proposal.reasons)


def test_no_history() -> None:
    """Without history nothing is proposed, and it is said why."""
    assert ceiling(past(), [], [], NOON).value is None
    assert redline(past(), "all").value is None
    assert redline(past(), "all").reasons


def test_redline_lets_one_busy_minute_in_twenty_through() -> None:
    """Of a hundred busy minutes, five are above the redline; quiet minutes do not count."""
    used = past(*((NOON + 600 * minute, 1000 * (minute + 1)) for minute in range(100)))
    proposal = redline(used, "all")

    assert proposal.value == 95_000


def test_minute_is_summed() -> None:
    """What came within one minute is one rate."""
    used = past(*((NOON + 60 * minute + second, 10) for minute in range(40) for second in (1, 20, 59)))

    assert redline(used, "all").value == 30


def test_redline_follows_the_tach() -> None:
    """The redline is in the kinds of tokens that the tachometer counts."""
    used = Past([(NOON + 60 * minute, Tokens(output=10, cache_read=90)) for minute in range(40)])

    assert [redline(used, tach).value for tach in ("all", "fresh", "output")] == [100, 10, 10]


@given(st.floats(1, 1e12))
def test_round_up(value: float) -> None:
    """Rounding never falls below and adds less than a tenth."""
    assert value <= round_up(value) <= max(value * 1.1 + 1e-6, value + 1)


COMMENTED = """# my gauge
node = "desk"   # by the window

ceiling_5h = 5_000   # a guess
# redline = 3
alerts = [
    0.8, # first
]

[prometheus_headers]
redline = "not me"
"""


def test_comments_stay() -> None:
    """Only the numbers change; comments, layout and tables stay, and a new line comes before the tables."""
    changed = set_values(COMMENTED, {"ceiling_5h": 7000, "redline": 42})

    assert "ceiling_5h = 7000   # a guess\n# redline = 3\n" in changed
    assert changed.index("redline = 42") < changed.index("[prometheus_headers]")
    assert tomllib.loads(changed)["prometheus_headers"] == {"redline": "not me"}
    assert [line for line in COMMENTED.splitlines() if line not in changed] == ["ceiling_5h = 5_000   # a guess"]


@pytest.mark.parametrize("text", ["", "\n", "# only\n", "a = 1", "a = 1\n\n\n[t]\nb = 1\n", "[t]\nx = 1\n"])
def test_any_layout(text: str) -> None:
    """Empty files, tables only and no last newline are no trouble; the rest says what it said."""
    assert tomllib.loads(set_values(text, {"redline": 9})) == {**tomllib.loads(text), "redline": 9}


@pytest.mark.parametrize(
    "text", ['"redline" = 1\n', 'x = """\nredline = 5\n"""\n', "redline =\n", "broken [", 'm = """\n[\n"""\n']
)
def test_what_cannot_be_done_for_certain(text: str) -> None:
    """A layout that a line-wise change could spoil, or that is broken, is refused."""
    with pytest.raises(ValueError, match=r"."):
        set_values(text, {"redline": 9})


def transcript(home: Path, now: float, minutes: int) -> None:
    """Write a transcript with a response of 1,000 tokens in each of the last minutes."""
    folder = home / ".claude" / "projects" / "-p"
    folder.mkdir(parents=True)
    lines = []
    for minute in range(minutes):
        usage = {"input_tokens": 400, "output_tokens": 600}
        message = {"id": f"m{minute}", "model": "claude-opus-5-5", "usage": usage, "content": []}
        record = {"type": "assistant", "timestamp": stamp(now - 60 * (minutes - minute)), "requestId": f"r{minute}"}
        lines.append(json.dumps({**record, "uuid": f"u{minute}", "sessionId": "s", "message": message}))
    (folder / "s.jsonl").write_text("\n".join([*lines, *lines]) + "\n")  # repeats count once


def test_whole_command() -> None:
    """From real transcripts and a real statusline to values in the settings file, which then count."""
    now = time.time()
    home = Path(os.environ["HOME"])
    transcript(home, now, 40)
    run(["statusline"], status(five_hour=(25, now + HOUR)))
    settings = home / ".config" / "claude-gauge" / "config.toml"
    shown = run(["calibrate"])

    assert shown.returncode == 0, shown.stderr
    assert b"ceiling_5h = 160000" in shown.stdout
    assert b"25% at 40,000 tokens, so full at 160,000" in shown.stdout
    assert b"redline = 1000" in shown.stdout
    assert not settings.exists()
    assert run(["calibrate", "--write"]).returncode == 0
    assert tomllib.loads(settings.read_text()) == {"ceiling_5h": 160_000, "redline": 1000}
    assert f"file {settings}".encode() in run(["config"]).stdout
    assert b"(now 160,000, file" in run(["calibrate"]).stdout


def test_forget() -> None:
    """One command forgets the plan figures that are stored, and says so."""
    run(["statusline"], status(five_hour=(25, time.time() + HOUR)))
    run(["calibrate"])
    forgotten = run(["calibrate", "--forget"])

    assert forgotten.stdout.startswith(b"Forgot what 2 files")
    assert json.loads(run(["show", "--json"]).stdout)["fuel_source"] != "plan"
    assert run(["calibrate", "--forget"]).stdout.startswith(b"Forgot what 0 files")


def test_settings_file_of_an_editor_on_windows(tmp_path: Path) -> None:
    """A byte order mark and the ends of lines stay as the person's editor wrote them."""
    transcript(Path(os.environ["HOME"]), time.time(), 40)
    settings = tmp_path / "my.toml"
    settings.write_bytes(b'\xef\xbb\xbf# mine\r\nnode = "desk"\r\nredline = 5\r\n')
    done = run(["calibrate", "--write", "--config", str(settings)])

    assert done.returncode == 0, done.stderr
    assert settings.read_bytes() == b'\xef\xbb\xbf# mine\r\nnode = "desk"\r\nredline = 1000\r\n'


def test_settings_file_that_cannot_be_changed(tmp_path: Path) -> None:
    """If the file can't be changed for certain it is left alone, and the values are said for the person to put in."""
    transcript(Path(os.environ["HOME"]), time.time(), 40)
    settings = tmp_path / "my.toml"
    settings.write_text('"redline" = 5\n')
    done = run(["calibrate", "--write", "--config", str(settings)])

    assert done.returncode == 1
    assert b"put in by hand: redline = 1000" in done.stderr
    assert settings.read_text() == '"redline" = 5\n'


def test_empty_home() -> None:
    """Without any transcripts it says so and ends well."""
    done = run(["calibrate", "--write"])

    assert done.returncode == 0
    assert b"Nothing to write." in done.stdout
