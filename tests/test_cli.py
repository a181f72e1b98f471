"""Whatever ends a command is one line and an exit code, never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.publisher import Publishing, as_before, call, environment, run
from tests.support.rights import no_override
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.commands import cli

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
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_config_names_its_file(env: dict[str, str]) -> None:
    """`claude-gauge config` lists the settings and, after an empty line, the settings file."""
    *rows, empty, last = call("config", env=env).stdout.splitlines()

    assert all(len(row.split()) >= 3 for row in rows)
    assert empty == ""
    assert last.startswith("settings file: /")


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "2>/dev/full", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize(("arguments", "code"), [(("schema",), 0), (("watch",), 1)])
def test_streams_that_are_closed_or_full(env: dict[str, str], closed: str, arguments: tuple[str], code: int) -> None:
    """Output that has nowhere to go is one line and exit 1; what is lost on stderr changes nothing."""
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *arguments]
    done = subprocess.run(shell, env=env, capture_output=True, text=True, check=False)
    if " >" in f" {closed}":
        code = 1

    assert (done.returncode, bool(done.stdout)) == (code, code == 0)
    assert len(done.stderr.splitlines()) == (code == 1 and "2>" not in closed)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>/dev/full"])
def test_publisher_without_streams(env: dict[str, str], tmp_path: Path, closed: str, broker: Mosquitto) -> None:
    """It publishes and ends in order, and none of its files takes the place of a stream that was closed."""
    env["CLAUDE_GAUGE_BROKER"] = broker.url
    silent = Publishing(tmp_path / "run", env=env, within=["sh", "-c", f'exec "$@" {closed}', "sh"])
    with Listener(broker.port, "claude-gauge/#") as listener, silent as publishing:
        listener.wait(lambda received: received.payload == b"online")
        streams = [str(Path(f"/proc/{publishing.pid}/fd/{number}").readlink()) for number in range(3)]

        assert publishing.end() == 0
    assert {"/dev/null", "/dev/full", str(tmp_path / "run" / "publisher.log")} >= {*streams[1:]}


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
    assert any(sign in done.stderr for sign in ("; ", "make one with"))  # what to do
    assert len(done.stderr.splitlines()) == 1


HOSTILE = "\u202e\u200b\x1b]0;x\x07\x85"


@pytest.mark.parametrize("arguments", [
    ("setup", "--yes"), ("setup", "--undo", "--yes"), ("otel", "install", "--yes"), ("otel", "install"), ("config",),
    ("calibrate",), ("calibrate", "--write"), ("calibrate", "--forget"),
    ("publish", "--once", "--account", "me\u202e\u200b"), ("show",), ("show", "--json", "--account", "me\u202e\u200b"),
    ("service", "uninstall"),
])  # fmt: skip
def test_hostile_names(env: dict[str, str], tmp_path: Path, broker: Mosquitto, arguments: tuple[str, ...]) -> None:
    """Folders and labels whose names would move the cursor or turn the line around reach no terminal as they are."""
    own = tmp_path / f"own{HOSTILE}"
    home = ClaudeHome(own / "claude")
    home.append(*(assistant(time.time() - number, number) for number in range(300)))
    names = {"HOME": str(own), "CLAUDE_CONFIG_DIR": str(home.folder), "CLAUDE_GAUGE_BROKER": broker.url}
    env = {**env, **names, "XDG_STATE_HOME": str(own / "state")}
    del env["CLAUDE_GAUGE_STATE_DIR"]
    done = call(*(each.format(own=own) for each in arguments), env=env)

    said = done.stdout + done.stderr
    assert said
    assert all(line.isprintable() for line in said.replace("\t", " ").split("\n")), said


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "--json"), 0),
        (("config",), 0),
        (("setup", "--yes"), 0),
        (("publish", "--once"), 1),
        (("otel", "install", "--yes"), 1),
    ],
)
def test_state_folder_of_somebody_else(
    env: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], *, code: int, flag: bool
) -> None:
    """A state folder that one may not open ends only what has to write there, in one line that names it."""
    state = tmp_path / "theirs"
    state.mkdir(mode=0)
    env["CLAUDE_GAUGE_SOURCE"] = "transcripts"
    if flag:
        arguments = (*arguments, "--state-dir", str(state))
    else:
        env["CLAUDE_GAUGE_STATE_DIR"] = str(state)
    with no_override():
        done = call(*arguments, env=env)

    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "Error", "Usage"))]
    assert len(errors) == code
    assert all(str(state) in error for error in errors)


@pytest.mark.parametrize("folder", ["a\nb", "\x1b[31m", os.fsdecode(b"\xff")])
def test_broker_folder_that_no_configuration_can_hold(env: dict[str, str], tmp_path: Path, folder: str) -> None:
    """A folder whose name can't stand in Mosquitto's configuration is refused in one line, and nothing is made."""
    done = run("broker", "init", "--folder", str(tmp_path / folder), env=env)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / folder).exists()


@pytest.mark.parametrize("command", [("setup",), ("otel", "install")])
def test_nobody_there_to_answer(env: dict[str, str], command: tuple[str, ...]) -> None:
    """Where a question finds no answer nothing is written, and the flag that answers it is named."""
    done = subprocess.run(
        [*COMMAND, *command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr == "error: nothing written, since nobody answered; `--yes` writes without asking\n"


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="needs systemctl, without a systemd that it reaches")
def test_systemd_that_cannot_be_reached(env: dict[str, str], tmp_path: Path) -> None:
    """An installation that fails at once leaves nothing behind, and what is not installed is not removed."""
    env = {**env, "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_RUNTIME_DIR": str(tmp_path / "none")}
    failed = run("service", "install", env={**env, "DBUS_SESSION_BUS_ADDRESS": ""})
    removed = run("service", "uninstall", env=env)

    assert (failed.returncode, removed.returncode) == (1, 1)
    assert "can't be reached" in failed.stderr or "does not run on this system" in failed.stderr
    assert "no service is installed" in removed.stderr
    assert not list((tmp_path / "config").rglob("*.service"))


def test_no_service_yet(env: dict[str, str]) -> None:
    """Without a service its log is no empty page but a line that says what to do."""
    done = run("service", "logs", env=env)

    assert done.returncode == 1
    assert "claude-gauge service install" in done.stderr
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


@pytest.mark.parametrize(
    "said", ["Could not determine home directory.", "could not determine the home directory for '~'"]
)
def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str) -> None:
    """A user without a home folder (a container's number, no HOME) is told what to set, in a line."""

    def fail() -> Path:
        raise RuntimeError(said)

    monkeypatch.setattr(sys, "argv", ["claude-gauge", "service", "status"])
    monkeypatch.setattr(Path, "home", fail)
    with as_before():
        code = cli.run()

    assert (code, capsys.readouterr().err) == (
        1,
        "error: this user has no home folder; set HOME to a folder that it may write to\n",
    )
