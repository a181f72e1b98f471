from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.publisher import environment
from tests.support.transcripts import ClaudeHome

NODE = "test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def claude(tmp_path: Path) -> ClaudeHome:
    """Give a Claude Code folder of this test's own."""
    return ClaudeHome(tmp_path / "claude")


@pytest.fixture
def env(claude: ClaudeHome, tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """Give an environment that leads nowhere but to the test's own folders and broker."""
    return environment(
        claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_NODE=NODE, CLAUDE_GAUGE_HTTP="off"
    )


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """Listen to all topics of ours."""
    with Listener(broker.port, "claude-gauge/#") as running:
        yield running
