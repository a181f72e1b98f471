"""Whatever ends a command is one line and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.publisher import environment, run
from tests.support.transcripts import ClaudeHome

COMMAND = [sys.executable, "-m", "claude_gauge"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Give a bare machine."""
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_HTTP="off")


@pytest.mark.parametrize(
    "arguments", [("schema",), ("config",), ("--help",), ("discovery", "show"), ("show", "--json")]
)
def test_full_disk_at_stdout(env: dict[str, str], arguments: tuple[str, ...]) -> None:
    """A command whose output does not fit on the disk says so and exits 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: cannot write: No space left on device"
    assert "Traceback" not in done.stderr


def test_closed_pipe(env: dict[str, str]) -> None:
    """A reader that has read enough is no error worth a word."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "schema"], env=env, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)

    assert done.stderr == b""


@pytest.mark.parametrize("arguments", [
    ("broker", "init", "--folder", "{file}/under"),
    ("broker", "users", "--folder", "{file}/under"),
    ("service", "install", "--broker", "mqtt://localhost"),
    ("publish", "--once", "--state-dir", "{file}/under"),
    ("sim", "--trace", "{file}/under"),
])  # fmt: skip
def test_folder_that_is_a_file(env: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Where a folder should be and a file is, the command says where in one line and exits 1."""
    file = tmp_path / "file"
    file.touch()
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "systemd").touch()
    done = run(*(each.format(file=file) for each in arguments), env=env)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["claude_gauge.hooks.entry", "claude_gauge.commands.cli", "typer"])
def test_early_interrupt(env: dict[str, str], tmp_path: Path, module: str) -> None:
    """Ctrl-C while a command is still being loaded is quiet."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, os, signal\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    done = run("publish", env={**env, "PYTHONPATH": str(tmp_path)})

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
