from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.mosquitto import Mosquitto
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.publisher import environment
from tests.support.tmux import Terminal
from tests.support.transcripts import ClaudeHome, assistant
from typer.main import get_command

from claude_gauge.commands.cli import build
from claude_gauge.contract.usage import Usage

README = ROOT / "README.md"
REAL_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
DOCS = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "firmware" / "README.md"]
# What the walk below does not run, and where it is run.
ELSEWHERE = {
    "bash scripts/test": "runs these tests",
    "docker compose": "tests/containers, tests/sources/prometheus: needs an engine",
    "claude-gauge service": "tests/apps/service, under a real systemd",
    "claude-gauge sim": "tests/firmware",
    "claude-gauge publish --broker mqtt://USER@": "tests/outlets/homeassistant, with a real Home Assistant",
    "claude-gauge publish --source prometheus": "tests/sources/prometheus, with a real Prometheus",
}
# Commands that run until they are ended, and what they say once they do their work.
ENDLESS = {"claude-gauge demo": '"rate_1m"', "claude-gauge publish": "sources:", "mosquitto_sub": "/usage {"}


def commands(page: Path) -> list[str]:
    """List each command line of a page's shell blocks, in order."""
    found = []
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return found


def copy_of_the_tree(folder: Path) -> None:
    """Lay down what a clone would hold, as it stands here."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else []
    for path in [ROOT / name for name in names if name] or [
        each for each in ROOT.rglob("*") if ".venv" not in each.parts
    ]:
        if path.is_file():
            place = folder / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)


class Walk:
    """A reader who types the README's commands one after the other, in one terminal and a second one."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self.env = folder, env
        self.running: list[subprocess.Popen[bytes]] = []

    def type(self, line: str) -> None:
        """Run a command line; one that does not end by itself goes on, in a terminal of its own."""
        for command in line.split(" && "):
            if command.startswith("git clone "):
                copy_of_the_tree(self.folder / command.rpartition("/")[2])
            elif command.startswith("cd "):
                self.folder /= command.removeprefix("cd ")
            elif command.startswith(". "):
                shown = self._shell(f"{command} && env -0").stdout
                self.env = dict(each.split("=", 1) for each in shown.split("\0") if "=" in each)
            elif sign := next((sign for known, sign in ENDLESS.items() if command.startswith(known)), None):
                self._start(command, sign)
            elif command == "claude-gauge watch":
                with (
                    tempfile.TemporaryDirectory() as short,  # a socket's path has 107 characters
                    Terminal(Path(short), ["claude-gauge", "watch"], self.env) as terminal,
                ):
                    terminal.wait("5H PLAN")
            else:
                done = self._shell(command)
                assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            input="y\n",
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def _start(self, command: str, sign: str) -> None:
        log = self.folder.parent / f"log-{len(self.running)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=file,
                stderr=file,
            )  # fmt: skip
        self.running.append(process)
        wait_until(lambda: sign in log.read_text() or process.poll() is not None, f"{sign!r} of {command}")
        assert sign in log.read_text(), f"{command}: {log.read_text()}"
        if not command.startswith("claude-gauge publish"):
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)

    def close(self) -> None:
        """End what still runs."""
        for process in self.running:
            if process.poll() is None:
                self._end(process)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_readme_from_a_clean_clone(tmp_path: Path, broker: Mosquitto) -> None:
    """Every command of the README works, in order, from a clean clone, on a machine where Claude Code was just used."""
    claude = ClaudeHome(tmp_path / "claude")
    claude.append(assistant(time.time(), 1))
    own = {"CLAUDE_GAUGE_BROKER": broker.url, "CLAUDE_GAUGE_HTTP": f"127.0.0.1:{free_port()}"}
    pip = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "http", "HTTP", "SSL_"))
    }
    configured = Path(os.environ.get("XDG_CONFIG_HOME", str(REAL_HOME / ".config"))) / "pip" / "pip.conf"
    if configured.exists():
        pip.setdefault("PIP_CONFIG_FILE", str(configured))
    walk = Walk(tmp_path, environment(claude, tmp_path, **own) | pip)
    typed = [line for line in commands(README) if not any(line.startswith(each) for each in ELSEWHERE)]
    assert len(typed) > 8
    try:
        for line in typed:
            walk.type(line.replace("-h localhost", f"-h localhost -p {broker.port}"))
    finally:
        walk.close()


def test_first_commands() -> None:
    """The first commands bring the main job, the next one the tests."""
    first = commands(README)[:3]

    assert first[0].startswith("git clone ")
    assert first[1].endswith("claude-gauge demo")
    assert first[2] == "bash scripts/test"


def test_one_sentence_one_picture_one_command() -> None:
    """The README opens with what it is, how it looks, and what to type; tables come after."""
    page = README.read_text()
    places = [page.index(sign) for sign in ("**Claude Code's usage", "![", "```sh", "\n|")]

    assert places == sorted(places)
    assert places[2] < 800


@pytest.mark.parametrize("command", [each for each in commands(README) if each.startswith("docker compose")])
def test_compose_of_the_readme(command: str) -> None:
    """The compose files take what the README says, where Docker's plugin is; tests/containers starts them."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no `docker compose` on this machine")
    words = shlex.split(command)
    done = subprocess.run(
        [*words[: words.index("up")], "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def _ours(line: str) -> str:
    """Return our part of a command line: without what stands around a `$(…)`, and sudo."""
    return re.sub(r'^sudo "\$\(command -v claude-gauge\)"', "claude-gauge", line).replace('"$(', " ").replace(')"', " ")


@pytest.mark.parametrize(
    "command",
    sorted(
        {_ours(each) for page in DOCS for each in commands(page) if re.search(r"(^| |\()claude-gauge ", _ours(each))}
    ),
)
def test_command_of_the_docs_exists(command: str) -> None:
    """Each command that any page shows is one that the program takes, with all its options."""
    words = shlex.split(command)
    words = words[words.index("claude-gauge") + 1 :]
    ends = [at for at, word in enumerate(words) if word in {"&&", ">", "|", ";", "…"}]
    words = words[: min(ends, default=len(words))]
    found: Any = get_command(build())
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]

    assert found.make_context("claude-gauge", words, resilient_parsing="…" in command)


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
