"""What `--help` says of the commands, and what completion offers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import ROOT
from typer.main import get_command
from typer.testing import CliRunner

from claude_gauge import __version__
from claude_gauge.commands.cli import build
from claude_gauge.commands.flags import EVERY
from claude_gauge.config import Settings
from claude_gauge.errors import SettingError
from claude_gauge.system.field_words import choices, default_shown


def _commands(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*words, name))


ALL = list(_commands(get_command(build())))


def _help(*words: str) -> str:
    return CliRunner().invoke(build(), [*words, "--help"], prog_name="claude-gauge", env={"COLUMNS": "80"}).output


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_a_terminal(words: tuple[str, ...]) -> None:
    """Nothing is wider than 80 columns, and no summary is cut."""
    text = _help(*words)

    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.replace("[ARGS]...", "")
    assert not re.search(r"^  -.* <", text, re.MULTILINE)  # typer's own names of types


def test_summaries_are_one_line_under_their_headings() -> None:
    """The commands stand in groups, each with a summary of one line."""
    text = _help()
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    listed = re.findall(r"^  ([a-z]+) +\S", text.split("Look:")[1], re.MULTILINE)

    assert headings[:6] == ["Options", "Look", "Publish", "Set up", "Device", "Broker"]
    assert sorted(listed) == sorted(words[0] for words in ALL if len(words) == 1 and words[0] != "hook")
    assert not re.findall(r"^ {8,}\S", text.split("Look:")[1], re.MULTILINE)


def test_version_alone() -> None:
    """There is `--version`, and no `--no-version`."""
    assert CliRunner().invoke(build(), ["--version"]).output == f"{__version__}\n"
    assert "no-version" not in _help()


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if default_shown(field) or choices(field)]
)
def test_options_show_type_choices_and_default(name: str) -> None:
    """Each option of a setting shows what it takes and its default, as the settings themselves have them."""
    text, field = _help("publish"), Settings.model_fields[name]
    (entry,) = re.findall(rf"^  --{name.replace('_', '-')} (.*?)(?=^  -|\Z)", text, re.MULTILINE | re.DOTALL)
    entry = " ".join(entry.split())

    assert "|".join(choices(field)) in entry
    assert entry.endswith(f"[default: {default_shown(field)}]")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["demo", "--speed", "0"], "--speed='0': should be a number from 0.1 up to 100"),
        (["demo", "--seconds", "soon"], "--seconds='soon': should be a number from 1"),
        (["demo", "--seed", "x"], "--seed='x': should be a whole number"),
        (["calibrate", "--days", "1.5"], "--days='1.5': should be a whole number from 1 up to 3650"),
        (
            ["otel", "install", "--temporality", "daily"],
            "--temporality='daily': should be one of 'delta', 'cumulative'",
        ),
        (["broker", "add", "x", "--role", "king"], "--role='king': should be one of 'publisher', 'fleet', 'device'"),
    ],
)
def test_wrong_value_of_an_option(typed: list[str], said: str) -> None:
    """A value that an option does not take is named with what it takes, in our words, and exits with 2."""
    caught = CliRunner().invoke(build(), typed).exception

    assert isinstance(caught, SettingError)
    assert str(caught).startswith(said)


def test_each_flag_is_taken(tmp_path: Path) -> None:
    """A flag on the command line gives its setting the same value as the variable in the environment."""
    given = {
        "broker": "mqtt://u@h", "node": "desk", "account": "work", "http": "off", "http_hosts": "a", "source": "otlp",
        "prometheus": "http://h", "prometheus_user": "u", "prometheus_match": "a", "prometheus_interval": "9",
        "ccusage_mcp": "http://h", "otlp": "off", "ceiling_5h": "9", "redline": "9", "stall_minutes": "9",
        "cache_floor": "0.5", "tach": "fresh", "waiting_minutes": "9", "alerts": "0.5", "alert_command": "say",
        "discovery": "ha", "log_format": "json",
    }  # fmt: skip
    given |= {name: "some/file" for name in EVERY if name not in given}
    flags = [word for name in EVERY for word in (f"--{name.replace('_', '-')}", given[name])]
    variables = {f"CLAUDE_GAUGE_{name.upper()}": given[name] for name in EVERY}
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    typed = CliRunner().invoke(build(), ["config", *flags], env=home)
    set_before = CliRunner().invoke(build(), ["config"], env={**home, **variables})
    rows = [[line.split() for line in each.output.splitlines()] for each in (typed, set_before)]

    assert (typed.exit_code, set_before.exit_code) == (0, 0), typed.exception
    assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
    assert sum(row[2:] == ["flag"] for row in rows[0]) == len(EVERY)


@pytest.mark.parametrize("name", ["state_dir", "broker_password_file", "config"])
def test_empty_path(name: str) -> None:
    """A path that is empty, as of a variable that is not set, is refused: it is not the folder in which one stands."""
    caught = CliRunner().invoke(build(), ["config", f"--{name.replace('_', '-')}", ""]).exception

    assert isinstance(caught, SettingError)
    assert "is empty" in str(caught)


@pytest.mark.parametrize(
    "typed", [["broker", "users", "--folder", ""], ["broker", "init", "--folder", " "], ["sim", "--trace", ""]]
)
def test_empty_path_of_a_command(typed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path for a command's own option is refused in one line, and nothing is made where one stands."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    done = CliRunner().invoke(build(), typed)

    assert (done.exit_code, "is empty" in done.output) == (2, True)
    assert not list(here.iterdir())


def test_completion_offers_the_choices() -> None:
    """A shell's completion offers the words that an option takes."""
    asked = {
        "_CLAUDE_GAUGE_COMPLETE": "complete_bash",
        "COMP_WORDS": "claude-gauge publish --tach f",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'claude-gauge'; import claude_gauge.__main__ as m; m.main()"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["fresh"]


def test_every_setting_is_explained() -> None:
    """Each setting is named in the README or in a guide that is written by hand."""
    guides = [ROOT / "README.md", *(path for path in (ROOT / "docs").glob("*.md") if path.name != "commands.md")]
    text = "".join(path.read_text() for path in guides)

    spellings = {
        name: (name, f"CLAUDE_GAUGE_{name.upper()}", f"--{name.replace('_', '-')}") for name in Settings.model_fields
    }

    assert [name for name, each in spellings.items() if not any(spelling in text for spelling in each)] == []
