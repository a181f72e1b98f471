from __future__ import annotations

import pytest
from tests.support import ROOT
from typer.main import get_command
from typer.testing import CliRunner

from claude_gauge.commands.cli import build

PAGE = ROOT / "docs" / "commands.md"
HEAD = """\
# Commands

What `claude-gauge … --help` says. A test writes this page; settings come from flags, then `CLAUDE_GAUGE_*`, then the
TOML file, then the defaults: `claude-gauge config` shows which.
"""


def _helps() -> list[str]:
    found = []

    def visit(words: list[str], command: object) -> None:
        if getattr(command, "hidden", False):
            return
        done = CliRunner().invoke(build(), [*words, "--help"], prog_name="claude-gauge", env={"COLUMNS": "100"})
        assert done.exit_code == 0, done.output
        title = " ".join(["claude-gauge", *words])
        found.append(f"## {title}\n\n```text\n{done.output.rstrip()}\n```\n")
        for name, child in getattr(command, "commands", {}).items():
            visit([*words, name], child)

    visit([], get_command(build()))
    return found


def test_commands_page_is_what_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of all commands equals their real --help; otherwise it is rewritten, and this fails once."""
    monkeypatch.setenv("COLUMNS", "100")
    real = "\n".join([HEAD, *_helps()])
    before = PAGE.read_text() if PAGE.exists() else ""
    if before != real:
        PAGE.write_text(real)

    assert before == real, f"{PAGE.name} was out of date and has been rewritten: commit it"
