from __future__ import annotations

import json
import os
import subprocess

import pytest
from tests.support.net import free_port
from tests.support.publisher import call

from claude_gauge.outlets.homeassistant.discovery import discovery


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `claude-gauge discovery …` to its end."""
    return call("discovery", *arguments, env=dict(os.environ))


def test_show() -> None:
    """`discovery show` prints the very payload on stdout and its topic on stderr."""
    done = run("show", "--node", "studio", "--discovery", "house")

    assert json.loads(done.stdout) == json.loads(discovery("studio"))
    assert done.stderr.strip() == "house/device/claude_gauge_studio/config"


def test_show_as_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the settings add to the payload is shown, too: the page, and the numbers where the publisher signs in."""
    monkeypatch.setenv("CLAUDE_GAUGE_HTTP", "192.0.2.7:8080")
    alone = json.loads(run("show").stdout)
    monkeypatch.setenv("CLAUDE_GAUGE_BROKER", "mqtt://desk@localhost")
    monkeypatch.setenv("CLAUDE_GAUGE_BROKER_PASSWORD", "correct horse")
    signed_in = json.loads(run("show").stdout)

    assert alone["device"]["configuration_url"] == "http://192.0.2.7:8080/"
    assert set(signed_in["components"]) - set(alone["components"]) == {"ceiling", "redline"}


def test_show_fleet() -> None:
    """`--fleet` shows the device of all nodes merged."""
    done = run("show", "--fleet")

    assert json.loads(done.stdout)["device"]["name"] == "Claude Code fleet"


def test_switched_off() -> None:
    """With `discovery = off` there is no prefix to show or to remove from; the error says what to do."""
    done = run("show", "--discovery", "off")

    assert (done.returncode, done.stdout) == (1, "")
    assert "--discovery homeassistant" in done.stderr


def test_remove_without_broker() -> None:
    """Without a broker, `remove` says where none is in one line, and ends with 1."""
    done = run("remove", "--broker", f"mqtt://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert done.stderr.startswith("error: broker 127.0.0.1:")
    assert done.stderr.count("\n") == 1
