from __future__ import annotations

import math
import os
import plistlib
import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.service.job import agent, job, unit
from claude_gauge.apps.service.manager import manager
from claude_gauge.config import load
from claude_gauge.daemon.machine import Watchdog
from claude_gauge.errors import GaugeError

JOB = job(
    load({"broker": "mqtt://gauge@pi", "node": "desk"}, {}),
    {"CLAUDE_CONFIG_DIR": "/data/my claude"},
    "/usr/bin/python3",
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the unit as `service install` does, where systemd's own tool can read it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "claude-gauge.service"
    path.write_text(unit(JOB))
    return path


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--user", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_systemd_accepts_the_unit(written: Path) -> None:
    """Systemd's own check finds nothing wrong with the unit."""
    done = _analyze("verify", str(written))

    assert (done.returncode, done.stderr) == (0, "")


def test_unit_is_hardened(written: Path) -> None:
    """Systemd's own security check rates the exposure at 2.5 or better."""
    done = _analyze("security", "--offline=yes", str(written))
    found = re.search(r"exposure level for claude-gauge.service: ([\d.]+)", done.stdout)

    assert found, done.stdout + done.stderr
    assert float(found[1]) <= 2.5


def test_what_lives_below_tmp_is_not_hidden() -> None:
    """A service with a /tmp of its own would not find its Python, its state or the transcripts there."""
    config = load({"node": "desk"}, {"CLAUDE_GAUGE_STATE_DIR": "/tmp/gauge"})

    assert "PrivateTmp=yes\n" in unit(replace(JOB, state_dir=Path("/data/gauge")))
    assert "PrivateTmp=no\n" in unit(job(config, {}, "/usr/bin/python3"))
    assert "PrivateTmp=no\n" in unit(job(load({}, {}), {}, "/tmp/venv/bin/python3"))


def test_settings_in_force_are_carried_along() -> None:
    """What was set by flag or environment is in the unit, quoted where it must be."""
    text = unit(JOB)

    assert "Environment=CLAUDE_GAUGE_BROKER=mqtt://gauge@pi\n" in text
    assert 'Environment="CLAUDE_CONFIG_DIR=/data/my claude"\n' in text


def test_paths_are_carried_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service starts in another folder: `--config`, files and folders are carried as absolute paths."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('broker_cert = "client.crt"\n')
    flags = {"config": "own.toml", "broker_ca": "ca.crt", "state_dir": "state", "ccusage": "bin/ccusage"}
    made = job(load(flags, {"CLAUDE_GAUGE_BROKER_PASSWORD_FILE": "~/pw"}), {"CLAUDE_CONFIG_DIR": "a, b"}, "/python3")

    assert made.state_dir == tmp_path / "state"
    assert {name: value for name, value in made.environment.items() if name != "PATH"} == {
        "CLAUDE_GAUGE_CONFIG": f"{tmp_path}/own.toml",
        "CLAUDE_GAUGE_BROKER_CA": f"{tmp_path}/ca.crt",
        "CLAUDE_GAUGE_BROKER_CERT": f"{tmp_path}/client.crt",
        "CLAUDE_GAUGE_STATE_DIR": f"{tmp_path}/state",
        "CLAUDE_GAUGE_CCUSAGE": f"{tmp_path}/bin/ccusage",
        "CLAUDE_GAUGE_BROKER_PASSWORD_FILE": str(Path("~/pw").expanduser()),
        "CLAUDE_CONFIG_DIR": f"{tmp_path}/a,{tmp_path}/b",
    }


def test_path_has_what_was_found(tmp_path: Path) -> None:
    """Programs that the publisher starts and that only this PATH has are found by the service, too."""
    for place, program in (("one", "ccusage"), ("two", "node")):
        (tmp_path / place).mkdir()
        (tmp_path / place / program).touch(mode=0o755)
    made = job(load({}, {}), {"PATH": f"/nowhere:{tmp_path}/one:{tmp_path}/two"}, "/python3")

    assert made.environment["PATH"].split(":")[:2] == [f"{tmp_path}/one", f"{tmp_path}/two"]
    assert "/usr/bin" in made.environment["PATH"].split(":")


ODD = [
    "$HOME/${x}",
    "a b",
    "100%h",
    'q"uo',
    "it's",
    "back\\slash",
    "line\nbreak",
    "car\rriage",
    "ta\tb",
    "# no comment",
    "é",
    ";",
]


@pytest.mark.parametrize("text", ODD)
def test_any_text_reaches_the_service_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Whatever a setting holds, systemd takes the unit; what it makes of it is shown by a real one elsewhere."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "claude-gauge.service"
    written = unit(job(load({"prometheus_match": f"x{text}y"}, {}), {}, "/usr/bin/python3"))
    path.write_text(written)

    assert len(written.splitlines()) == len(unit(job(load({"prometheus_match": "x"}, {}), {}, "/p")).splitlines())
    assert _analyze("verify", str(path)).stderr == ""


def test_folder_that_systemd_takes_no_name_of() -> None:
    """A state folder with a line break in its name is refused in words."""
    with pytest.raises(GaugeError, match="line break"):
        unit(job(load({"state_dir": "/a\nb"}, {}), {}, "/p"))
    with pytest.raises(GaugeError, match="line break"):
        agent(JOB, Path("/logs\x0b"))


def test_no_bus_says_what_to_do(tmp_path: Path) -> None:
    """Where a person has no systemd of its own each command says how to get one, or what to do where none runs."""
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path)
    done = [call("service", *words, env=env) for words in (["install"], ["status"])]

    assert [each.returncode for each in done] == [1, 1]
    booted = Path("/run/systemd/system").is_dir()
    said = (
        "log in as this user directly" if booted else "systemd does not run on this system; run `claude-gauge publish`"
    )
    assert all(said in each.stderr for each in done), done
    assert [len(each.stderr.splitlines()) for each in done] == [1, 1]


def test_watchdog(tmp_path: Path) -> None:
    """The loop feeds systemd's watchdog three times as often as it must; elsewhere nothing is said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}

        assert Watchdog(environ)() == 1.0
        assert listener.recv(64) == b"WATCHDOG=1"
    assert Watchdog({**environ, "WATCHDOG_PID": "1"})() == math.inf
    assert Watchdog({})() == math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [("CLAUDE_GAUGE_BROKER_PASSWORD", "canary"), ("CLAUDE_GAUGE_BROKER", "wss://h/mqtt?token=canary")],
)
def test_secret_never_gets_into_a_definition(name: str, value: str) -> None:
    """A password or token in the environment is refused: other people could read the service's definition."""
    config = load({}, {name: value})

    with pytest.raises(GaugeError, match=f"{name} is or holds a secret") as caught:
        job(config, {})
    assert "canary" not in str(caught.value)


def test_launchd_agent_is_a_property_list() -> None:
    """The macOS agent runs the same command with the same environment; launchd itself can't run here."""
    found = plistlib.loads(agent(JOB, Path("/Users/me/Library/Logs")))

    assert found["ProgramArguments"] == ["/usr/bin/python3", "-m", "claude_gauge", "publish"]
    assert found["EnvironmentVariables"]["CLAUDE_GAUGE_NODE"] == "desk"
    assert found["KeepAlive"] == {"SuccessfulExit": False}


def test_install_and_uninstall(tmp_path: Path) -> None:
    """The unit is written, started and enabled, and all of that is undone.

    A stand-in for systemctl notes how it is called, for machines where test_user_manager.py can't run the real one.
    """
    notes = tmp_path / "notes"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{notes}\n')
    (tools / "systemctl").chmod(0o755)
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path)
    env["PATH"] = f"{tools}:{env['PATH']}"
    path = tmp_path / ".config" / "systemd" / "user" / "claude-gauge.service"

    installed = call("service", "install", "--node", "desk", env=env)
    assert installed.returncode == 0, installed.stderr
    assert "CLAUDE_GAUGE_NODE=desk" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    removed = call("service", "uninstall", env=env)

    assert removed.returncode == 0, removed.stderr
    assert not path.exists()
    assert notes.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable claude-gauge",
        "--user restart claude-gauge",
        "--user disable --now claude-gauge",
        "--user daemon-reload",
    ]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_program_that_the_person_cannot_run(tmp_path: Path, platform: str) -> None:
    """Where the person may not run the program (Python below root's home), that is said before anything is written."""
    program = tmp_path / "python"
    program.touch(0o644)
    services = manager(platform, tmp_path / "person")

    with pytest.raises(GaugeError, match=f"you may not run {program}.*install claude-gauge as this user"):
        services.install(replace(JOB, command=(str(program), "-m", "claude_gauge", "publish")))
    assert not (tmp_path / "person").exists()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (2, "the service did not start (exit-code 2): `claude-gauge service logs`"),
        (75, "another publisher has this node already: stop it"),
    ],
)
def test_start_that_fails(tmp_path: Path, status: int, said: str) -> None:
    """A service that does not come up is reported with systemd's reason and where to look, or with what is wrong."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(
        '#!/bin/sh\ncase "$*" in *restart*) echo "Job failed" >&2; exit 1;; *Result*) echo exit-code;; '
        f"*ExecMainStatus*) echo {status};; esac\n"
    )
    (tools / "systemctl").chmod(0o755)
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path)
    done = call("service", "install", env={**env, "PATH": f"{tools}:{env['PATH']}"})

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")


def test_masked_unit(tmp_path: Path) -> None:
    """A unit that the person masked, a link to /dev/null, is left as it is, and the way back is named."""
    unit = tmp_path / ".config" / "systemd" / "user" / "claude-gauge.service"
    unit.parent.mkdir(parents=True)
    unit.symlink_to(os.devnull)
    done = call("service", "install", env=environment(ClaudeHome(tmp_path / "claude"), tmp_path))

    assert (done.returncode, "systemctl --user unmask claude-gauge" in done.stderr) == (1, True)
    assert unit.is_symlink()
    assert Path(os.devnull).is_char_device()


def test_missing_systemctl_says_what_to_do(tmp_path: Path) -> None:
    """Without systemd the error names another way."""
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, PATH=str(tmp_path))
    done = call("service", "status", env=env)

    assert done.returncode == 1
    assert "systemctl is not on this system; run `claude-gauge publish`" in done.stderr


def test_platform_decides() -> None:
    """MacOS has launchd, everything else systemd."""
    assert manager("darwin", Path("/h")).path == Path("/h/Library/LaunchAgents/claude-gauge.plist")
    assert manager("linux", Path("/h")).path.name == "claude-gauge.service"
