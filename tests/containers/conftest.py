"""The same tests on two brokers: a Mosquitto of this machine, and the compose file's image in a container."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.containers.engine import engine, has_image, make_image
from tests.support import ROOT
from tests.support.mosquitto import Mosquitto
from tests.support.net import PATIENCE_S, answers, free_port, wait_until

COMPOSE = ROOT / "compose.yaml"


def compose_image() -> str:
    """Read the broker's image off the compose file."""
    found = re.search(r"image: (eclipse-mosquitto:\S+)", COMPOSE.read_text())
    assert found
    return found[1]


class Contained:
    """Mosquitto in a container, with the same handles as one without."""

    def __init__(self, image: str) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._container = DockerContainer(image).with_bind_ports(1883, self.port)
        self._killed = False
        self._container.waiting_for(LogMessageWaitStrategy("running"))

    def start(self) -> Self:
        """Start it, again after a kill."""
        if self._killed:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
        wait_until(lambda: answers(self.port), "the broker in its container")
        return self

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._container.get_wrapped_container().kill()
        self._container.get_wrapped_container().wait(timeout=PATIENCE_S)
        self._killed = True

    def stop(self) -> None:
        """Remove it."""
        self._container.stop()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the compose file's image, or one of the same name made from this machine's Mosquitto."""
    with pytest.MonkeyPatch.context() as patch, engine():
        patch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        name = compose_image()
        if not has_image(name):
            make_image(name, tmp_path_factory.mktemp("image"))
        yield name


@pytest.fixture(params=["local", pytest.param("container", marks=pytest.mark.containers)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mosquitto | Contained]:
    """Give a broker of either kind."""
    broker = Mosquitto(tmp_path / "broker") if request.param == "local" else Contained(request.getfixturevalue("image"))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
