from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto, find_mosquitto
from tests.support.net import free_port
from tests.support.publisher import environment, run
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.demo.script import earlier, live
from claude_gauge.contract.usage import Usage


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Give a bare machine: no broker, no Claude Code."""
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_HTTP="off")


def test_same_seed_same_day() -> None:
    """A seed names a day: the same one twice is the same, another one is another."""
    first, again, other = (list(itertools.islice(live(seed), 200)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_made_up_figures_are_possible() -> None:
    """No response thinks more than it puts out, nothing is negative, and the day has several models."""
    day = list(itertools.islice(live(7), 500)) + list(earlier(7, 3600))

    assert all(0 <= each.thinking <= each.output for each in day)
    assert all(min(each.input, each.output, each.cache_read, each.cache_creation) >= 0 for each in day)
    assert len({each.model for each in day}) >= 4


def _lines(env: dict[str, str], *arguments: str) -> tuple[list[dict[str, object]], str]:
    done = run("demo", "--lines", "--seconds", "4", "--speed", "5", *arguments, env=env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _without_mosquitto(*command: str) -> list[str]:
    """Run a command where no Mosquitto is installed: /dev/null lies over it, for that command alone."""
    hide = f'mount --bind /dev/null {find_mosquitto()} && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", hide, "sh", *command]


@pytest.mark.parametrize("broker_kind", ["Mosquitto", "amqtt"])
def test_needles_move_on_a_bare_machine(env: dict[str, str], broker_kind: str) -> None:
    """Payloads travel the real road and change, with an installed Mosquitto and where Python is all there is."""
    command = [sys.executable, "-m", "claude_gauge", "demo", "--lines", "--seconds", "4", "--speed", "5"]
    words = command if broker_kind == "Mosquitto" else _without_mosquitto(*command)
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    payloads, said = [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    assert len({each["rate_1m"] for each in payloads}) > 2
    assert f"made-up transcripts, all else real: {broker_kind}" in said
    for payload in payloads:
        payload.pop("scene")
        Usage.model_validate(payload)


def test_nothing_of_the_person_is_touched(env: dict[str, str], tmp_path: Path) -> None:
    """The demo reads no transcript of the person's, and leaves nothing behind."""
    home = ClaudeHome(tmp_path / "own")
    before = sorted(tmp_path.rglob("*"))
    payloads, _ = _lines(env | {"CLAUDE_CONFIG_DIR": str(home.folder)})

    assert payloads
    assert sorted(tmp_path.rglob("*")) == before


def test_a_real_broker_can_be_driven(env: dict[str, str], broker: Mosquitto) -> None:
    """With --broker the demo drives whatever listens there: a device, Home Assistant."""
    with Listener(broker.port) as listener:
        _lines(env, "--broker", broker.url, "--node", "desk")

        listener.wait(lambda heard: heard.topic == "claude-gauge/desk/usage")
        listener.wait(lambda heard: heard.topic.startswith("homeassistant/device/"))
        listener.wait(lambda heard: (heard.topic, heard.payload) == ("claude-gauge/desk/status", b"offline"))


def test_broker_that_is_not_there(env: dict[str, str]) -> None:
    """A broker that was asked for and is not there leaves no payload, and the log says why."""
    done = run("demo", "--lines", "--seconds", "2", "--broker", f"mqtt://127.0.0.1:{free_port()}", env=env)

    assert not done.stdout
    assert "refuses the connection" in done.stderr
