"""A broker behind a network that fails in every way a network can."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until
from tests.support.proxy import Mode, Proxy
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.usages import usage_of, wait_tokens


@pytest.mark.long
@pytest.mark.parametrize("mode", ["reset", "garbage", "half-open"])
def test_broker_comes_back(
    mode: Mode, claude: ClaudeHome, env: dict[str, str], broker: Mosquitto, tmp_path: Path
) -> None:
    """After connections were reset, spoilt or went silent, one fresh state arrives and no queue of stale ones."""
    with (
        Proxy(broker.port) as proxy,
        Listener(broker.port, "claude-gauge/#") as listener,
        Publishing(tmp_path / "run", env={**env, "CLAUDE_GAUGE_BROKER": proxy.url}) as publishing,
    ):
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)
        accepted = proxy.accepted
        proxy.set(mode)
        for n in range(2, 12):
            claude.append(assistant(time.time(), n))
        wait_until(lambda: proxy.accepted > accepted, "the publisher to notice and to try again")
        proxy.set("pass")
        wait_tokens(listener, 11 * SAMPLE)
        claude.append(assistant(time.time(), 12))
        wait_tokens(listener, 12 * SAMPLE)
        log = publishing.log

        assert publishing.end() == 0
    assert "Traceback" not in log
    counts = [usage_of(received)["window_5h_tokens"] for received in listener.messages if usage_of(received)]
    assert counts == sorted(counts)


def test_slow_network_delays_and_loses_nothing(
    claude: ClaudeHome, env: dict[str, str], broker: Mosquitto, tmp_path: Path
) -> None:
    """With every packet late, the newest state arrives and the publisher neither blocks nor gives up."""
    with Proxy(broker.port) as proxy, Listener(broker.port, "claude-gauge/#") as listener:
        proxy.set("slow")
        with Publishing(tmp_path / "run", env={**env, "CLAUDE_GAUGE_BROKER": proxy.url}) as publishing:
            for n in range(1, 30):
                claude.append(assistant(time.time(), n))
            wait_tokens(listener, 29 * SAMPLE)

            assert publishing.end() == 0
    assert "Traceback" not in publishing.log
