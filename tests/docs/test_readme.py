from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.mosquitto import Mosquitto
from tests.support.publisher import environment, run
from tests.support.transcripts import ClaudeHome, assistant
from typer.testing import CliRunner

from claude_gauge.commands.cli import build
from claude_gauge.contract.usage import Usage

PAGES = [ROOT / "README.md"]
DOCS = [*PAGES, *sorted((ROOT / "docs").glob("*.md")), ROOT / "firmware" / "README.md"]
# What is run by other means than here, and where.
ELSEWHERE = {
    "python3 -m venv": "scripts/setup does so before these tests",
    "git clone": "these tests run in a clone",
    "bash scripts/test": "runs these tests",
    "docker compose": "tests/containers, tests/sources/prometheus: needs an engine",
    "sudo apt": "scripts/parts/10-debian.sh",
    "claude-gauge demo": "tests/apps/demo",
    "claude-gauge watch": "tests/apps/terminal, in a real tmux pane",
    "claude-gauge publish": "tests/daemon/test_publish.py",
    "claude-gauge service": "tests/apps/service",
    "claude-gauge setup": "tests/claude_code",
    "claude-gauge sim": "tests/firmware",
    "claude-gauge firmware": "tests/firmware",
    "claude-gauge fleet": "tests/apps/fleet",
    "claude-gauge broker": "tests/apps/broker",
    "claude-gauge otel": "tests/claude_code",
}


def _commands(pages: list[Path]) -> list[str]:
    """List each command line of the pages' shell blocks."""
    found = []
    for page in pages:
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return found


def _here(command: str) -> bool:
    return not any(command.startswith(known) for known in ELSEWHERE)


@pytest.fixture
def env(tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """Give a machine on which Claude Code was used a moment ago, with a broker and a payload on it."""
    claude = ClaudeHome(tmp_path / "claude")
    claude.append(assistant(time.time(), 1))
    settings = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    assert run("publish", "--once", env=settings).returncode == 0
    return settings


def test_readme_has_commands() -> None:
    """The pages show commands at all: an empty list would prove nothing."""
    assert len(_commands(PAGES)) >= 5


@pytest.mark.parametrize("command", [each for each in _commands(PAGES) if _here(each)])
def test_command_of_the_readme_works(command: str, env: dict[str, str], broker: Mosquitto) -> None:
    """Each command that the pages show ends well, on a machine as a reader would have it."""
    words = shlex.split(command.replace("-h localhost", f"-h localhost -p {broker.port}"))
    if words[0] == "claude-gauge":
        done = run(*words[1:], env=env)
    elif words[0] == "mosquitto_sub":
        done = subprocess.run([*words, "-C", "1"], env=env, capture_output=True, text=True, timeout=60, check=False)
    else:
        pytest.fail(f"no test knows how to run {command!r}: add it here, or to ELSEWHERE with where it is run")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", sorted({each for each in _commands(DOCS) if re.search(r"(^| |\()claude-gauge ", each)})
)
def test_command_of_the_docs_exists(command: str) -> None:
    """Each command that any page shows is one that the program takes, with all its options."""
    words = shlex.split(command.replace('"$(', " ").replace(')"', " "))
    done = CliRunner().invoke(build(), [*words[words.index("claude-gauge") + 1 :], "--help"])

    assert done.exit_code == 0, done.output


def test_table_of_fields_is_the_contract() -> None:
    """The README's table names every field of the payload, in its order, and none besides."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| Field |") :]
    named = re.findall(r"^\| `(\w+)` \|", table[: table.index("\n\n")], re.MULTILINE)

    assert named == list(Usage.model_fields)


def test_links_lead_somewhere() -> None:
    """Every relative link and picture of the README and the docs is there."""
    for page in DOCS:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
