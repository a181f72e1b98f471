from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.containers.conftest import Contained
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import wait_until
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

pytestmark = pytest.mark.xdist_group("containers")


def _tokens(received: Received) -> int | None:
    return json.loads(received.payload)["window_5h_tokens"] if received.topic.endswith("/usage") else None


@pytest.fixture
def env(claude: ClaudeHome, tmp_path: Path, anywhere: Mosquitto | Contained) -> dict[str, str]:
    """Give an environment that leads to the broker."""
    return environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=anywhere.url, CLAUDE_GAUGE_HTTP="off")


def test_line_arrives(claude: ClaudeHome, env: dict[str, str], anywhere: Mosquitto | Contained, tmp_path: Path) -> None:
    """An appended line reaches a subscriber, and stays for a later one."""
    with Publishing(tmp_path / "run", env=env), Listener(anywhere.port, "claude-gauge/#") as listener:
        listener.wait(lambda received: received.topic.endswith("/usage"))
        claude.append(assistant(time.time(), 1))
        listener.wait(lambda received: _tokens(received) == SAMPLE)
        with Listener(anywhere.port, "claude-gauge/#") as late:
            assert late.wait(lambda received: _tokens(received) == SAMPLE).retained


def test_broker_killed_and_back(
    claude: ClaudeHome, env: dict[str, str], anywhere: Mosquitto | Contained, tmp_path: Path
) -> None:
    """After the broker was killed and came back with nothing, the newest state is there again."""
    with Publishing(tmp_path / "run", env=env) as publishing:
        wait_until(lambda: "connected" in publishing.log, "the publisher to connect")
        anywhere.kill()
        claude.append(assistant(time.time(), 1))
        anywhere.start()
        with Listener(anywhere.port, "claude-gauge/#") as listener:
            listener.wait(lambda received: _tokens(received) == SAMPLE)
            received = listener.wait(lambda received: received.topic.endswith("/status"))

    assert received.payload == b"online"
