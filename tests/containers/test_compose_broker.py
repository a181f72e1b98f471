"""`docker compose up broker`, before and after `broker init`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.parts import part

from claude_gauge.apps.broker import roles
from claude_gauge.apps.broker.check import Inspection
from claude_gauge.apps.broker.folder import BrokerFolder, Register, today
from claude_gauge.apps.broker.roles import Role, User

pytestmark = pytest.mark.containers


class Checkout:
    """A checkout of its own with the broker's part of compose.yaml, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.broker_folder = BrokerFolder(folder / "broker/own")
        self.ports: roles.Ports = (free_port(), free_port(), free_port())
        (folder / "broker").mkdir(parents=True)
        shutil.copy(ROOT / "compose.yaml", folder)
        shutil.copy(ROOT / "broker/mosquitto.conf", folder / "broker")
        program = part("metrics/new/usr/libexec/docker/cli-plugins/docker-compose")
        self._command = [str(program), "--project-name", f"house{os.getpid()}", "--project-directory", str(folder)]
        names = ("MQTT", "MQTTS", "WSS")
        moved = {f"CLAUDE_GAUGE_{name}_PORT": str(port) for name, port in zip(names, self.ports, strict=True)}
        self._environ = {**os.environ, **moved, "CLAUDE_GAUGE_BROKER_USER": "1000:1000"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run compose's plugin."""
        return subprocess.run(
            [*self._command, *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )


@pytest.fixture
def checkout(tmp_path: Path, image: str) -> Iterator[Checkout]:
    """A checkout, and an engine that has the broker's image."""
    assert image
    made = Checkout(tmp_path / "checkout")
    yield made
    made.run("down", "--volumes")


def test_up_before_init(checkout: Checkout) -> None:
    """It fails with a sentence that names a missing folder, and makes none."""
    done = checkout.run("up", "--detach", "--pull", "never", "broker")

    assert done.returncode != 0
    assert f"{checkout.broker_folder.folder}/" in done.stderr  # one of two, in an order of the engine's own
    assert "does not exist" in done.stderr
    assert not checkout.broker_folder.folder.exists()


def test_up_after_init(checkout: Checkout) -> None:
    """With nothing that it may write but its store, and no privilege, the broker runs and passes the check."""
    users = (User(name="desk", role=Role.PUBLISHER), User(name="viewer", role=Role.VIEWER))
    owner = "1000:1000" if os.geteuid() == 0 else None
    checkout.broker_folder.make(
        Register(hosts=["localhost"], discovery="homeassistant", owner=owner, ports=checkout.ports), today(), users
    )
    done = checkout.run("up", "--detach", "--pull", "never", "broker")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: "running" in checkout.run("logs", "broker").stdout, "the broker to run")
    found = [(each.ok, each.text) for each in Inspection(checkout.broker_folder, "localhost").run(today())]

    assert [text for ok, text in found if not ok] == []
