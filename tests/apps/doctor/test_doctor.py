from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import free_port
from tests.support.parts import part
from tests.support.publisher import Publishing, environment, run
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.apps.doctor.machine import folders, watches


@pytest.fixture
def claude(tmp_path: Path) -> ClaudeHome:
    """Give a Claude Code folder of this test's own."""
    return ClaudeHome(tmp_path / "claude")


def _examined(env: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    done = run("doctor", "--json", env=env)
    return done.returncode, {check["link"]: check for check in json.loads(done.stdout)["checks"]}


def test_all_is_well(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """With a publisher at work every link is found to be ok."""
    claude.append(assistant(time.time(), 1))
    port = free_port()
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP=f"127.0.0.1:{port}")
    with Listener(broker.port) as listener, Publishing(tmp_path / "run", env=env):
        listener.wait(lambda heard: heard.topic.endswith("/usage"))
        code, found = _examined(env)

    assert code == 0
    assert (found.pop("Claude Code")["state"], found.pop("plan figures")["state"]) == ("off", "off")
    assert {name: check["state"] for name, check in found.items()} == dict.fromkeys(
        ["settings", "Claude Code's folder", "file events", "state folder", "broker", "permission", "topic", "HTTP"],
        "ok",
    )


def test_nothing_is_there(tmp_path: Path) -> None:
    """On a bare machine each broken link says what to do, and the exit code is 1."""
    claude = ClaudeHome(tmp_path / "claude")
    env = environment(claude, tmp_path, CLAUDE_CONFIG_DIR=str(tmp_path / "nowhere"))
    env |= {"CLAUDE_GAUGE_BROKER": f"mqtt://127.0.0.1:{free_port()}", "CLAUDE_GAUGE_HTTP": f"127.0.0.1:{free_port()}"}
    code, found = _examined(env)

    assert code == 1
    assert (found["Claude Code's folder"]["state"], found["broker"]["state"]) == ("fail", "fail")
    assert all(check["advice"] for check in found.values() if check["state"] in {"warn", "fail"})


def test_wrong_password_is_told_and_never_shown(claude: ClaudeHome, tmp_path: Path) -> None:
    """A refused password is named as the trouble; the password itself is nowhere in the output."""
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o644)
    with Mosquitto(tmp_path / "shut", f"password_file {passwords}", anonymous=False) as shut:
        env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=f"mqtt://gauge@127.0.0.1:{shut.port}")
        done = run("doctor", env=env | {"CLAUDE_GAUGE_BROKER_PASSWORD": "canary-hunter2"})

    assert done.returncode == 1
    assert "FAIL  broker" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_forbidden_topic_is_proved_by_delivery(claude: ClaudeHome, tmp_path: Path) -> None:
    """An ACL that swallows our messages is found although Mosquitto answers with success."""
    acl = tmp_path / "acl"
    acl.write_text("topic read claude-gauge/#\n")
    acl.chmod(0o644)
    with Mosquitto(tmp_path / "strict", f"acl_file {acl}") as strict:
        code, found = _examined(environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=strict.url))

    assert code == 1
    assert found["permission"]["state"] == "fail"
    assert "ACL" in found["permission"]["advice"]


def test_clock_behind_the_transcripts(claude: ClaudeHome) -> None:
    """A transcript from the future shows that a clock is wrong."""
    path = claude.append(assistant(time.time(), 1))
    found = {check.link: check for check in folders([claude.folder / "projects"], path.stat().st_mtime - 3600)}

    assert found["clock"].state == "warn"
    assert "NTP" in found["clock"].advice


def test_too_few_watches(claude: ClaudeHome, tmp_path: Path) -> None:
    """More folders than the kernel lets us watch is told, with the setting that mends it."""
    (tmp_path / "max_user_watches").write_text("1\n")
    (check,) = watches([claude.folder / "projects"], tmp_path)

    assert check.state == "warn"
    assert "sysctl fs.inotify.max_user_watches" in check.advice


def test_sources_that_are_configured_are_asked(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """A Prometheus that is away and a ccusage that answers are told as such."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    env["CLAUDE_GAUGE_PROMETHEUS"] = f"http://127.0.0.1:{free_port()}"
    env["CLAUDE_GAUGE_CCUSAGE"] = str(part("ccusage-20.0.24/node_modules/.bin/ccusage"))
    code, found = _examined(env)

    assert code == 1
    assert found["Prometheus"]["state"] == "fail"
    assert found["ccusage"]["found"] == "answers: 1,160 tokens in the present block"
