"""The service under a real systemd, as a person installs it: hardened, watched, restarted."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import wait_until
from tests.support.systemd import UserManager, persons_manager, user_manager
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.usages import wait_tokens

from claude_gauge.contract.usage import OFFLINE, ONLINE


@pytest.fixture
def manager() -> Iterator[UserManager]:
    """Give a user manager of this test's own."""
    with user_manager() as running:
        yield running


@pytest.fixture
def claude(manager: UserManager) -> ClaudeHome:
    """Give Claude Code's folder in that person's home."""
    return ClaudeHome(manager.folder / ".claude")


def _install(manager: UserManager, broker: Mosquitto, *more: str) -> None:
    settings = [*more, "--broker", broker.url, "--node", "desk", "--http", "off", "--source", "transcripts"]
    done = manager.ours("service", "install", *settings)

    assert done.returncode == 0, done.stderr


def _says(word: str) -> Callable[[Received], bool]:
    return lambda received: received.topic.endswith("/status") and received.payload.decode() == word


def test_installed_service_works_and_goes(manager: UserManager, claude: ClaudeHome, broker: Mosquitto) -> None:
    """All its hardening leaves it what it needs; a crash is followed by a restart; uninstalling leaves nothing."""
    with Listener(broker.port, "claude-gauge/desk/#") as listener:
        _install(manager, broker)
        assert manager.ours("service", "status").returncode == 0
        assert (manager.value_of("ActiveState"), manager.value_of("PrivateTmp")) == ("active", _private_tmp())
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)

        received = len(listener.messages)
        os.kill(int(manager.value_of("MainPID")), signal.SIGKILL)
        listener.wait(_says(OFFLINE), after=received)
        claude.append(assistant(time.time(), 2), name="new.jsonl")
        wait_tokens(listener, 2 * SAMPLE, after=received)

        received = len(listener.messages)
        removed = manager.ours("service", "uninstall")
        listener.wait(_says(OFFLINE), after=received)

    assert removed.returncode == 0, removed.stderr
    assert (manager.value_of("LoadState"), manager.value_of("ActiveState")) == ("not-found", "inactive")
    assert not list(manager.folder.rglob("claude-gauge.service"))


@pytest.mark.long
def test_frozen_service_is_restarted(manager: UserManager, broker: Mosquitto) -> None:
    """Systemd's watchdog ends one that no longer speaks, and starts another; its patience is shortened here."""
    patience = manager.folder / ".config/systemd/user/claude-gauge.service.d/patience.conf"
    patience.parent.mkdir(parents=True)
    patience.write_text("[Service]\nWatchdogSec=17\nTimeoutStopSec=1\nRestartSec=1\n")
    with Listener(broker.port, "claude-gauge/desk/#") as listener:
        _install(manager, broker)
        listener.wait(_says(ONLINE))
        frozen, received = int(manager.value_of("MainPID")), len(listener.messages)
        os.kill(frozen, signal.SIGSTOP)
        listener.wait(_says(ONLINE), 60, after=received)

        wait_until(lambda: manager.value_of("ActiveState") == "active", "the service to be up again")
        assert int(manager.value_of("MainPID")) not in {0, frozen}


@pytest.mark.parametrize("namespaces", [True, False], ids=["namespaces", "none"])
def test_ordinary_person(broker: Mosquitto, namespaces: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An ordinary person's service runs, where user namespaces are forbidden too, and what was left out is reported."""
    with persons_manager(namespaces=namespaces) as manager, Listener(broker.port, "claude-gauge/desk/#") as listener:
        settings = ["--broker", broker.url, "--node", "desk", "--http", "off", "--source", "transcripts"]
        done = manager.ours("service", "install", *settings)
        listener.wait(_says(ONLINE))

        assert done.returncode == 0, done.stderr
        assert ("forbids user namespaces" in done.stdout) == (not namespaces)
        assert "sudo loginctl enable-linger person" in done.stdout
        assert manager.value_of("ActiveState") == "active"
        assert manager.value_of("PrivateUsers") == ("yes" if namespaces else "no")
        assert manager.ours("service", "uninstall").returncode == 0


def test_odd_settings_arrive(manager: UserManager, broker: Mosquitto) -> None:
    """What a setting holds reaches the service to the letter: dollars, percent signs, quotes, line breaks."""
    odd = "a $HOME ${x} 100%h 'q' \\ \n \r \t # ; é"
    _install(manager, broker, "--alert-command", odd)
    environ = Path(f"/proc/{manager.value_of('MainPID')}/environ").read_bytes().split(b"\0")

    assert f"CLAUDE_GAUGE_ALERT_COMMAND={odd}".encode() in environ


def _private_tmp() -> str:
    """A checkout below /tmp is all that would keep the service from having a /tmp of its own."""
    return "no" if Path(sys.prefix).is_relative_to("/tmp") else "yes"
