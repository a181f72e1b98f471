from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import answers, wait_until
from tests.support.publisher import Publishing, call, run
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.contract.usage import Usage

TOPIC, STATUS = "claude-gauge/test/usage", "claude-gauge/test/status"


def _usage(received: Received) -> dict[str, Any]:
    return dict(json.loads(received.payload)) if received.topic == TOPIC else {}


def test_appended_line_reaches_a_subscriber(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """What Claude Code appends moves the figures at a subscriber, and the payload is the contract's."""
    with Publishing(tmp_path / "run", env=env):
        listener.wait(lambda received: received.topic == TOPIC)
        claude.append(assistant(time.time(), 1))
        received = listener.wait(lambda received: _usage(received).get("window_5h_tokens") == SAMPLE)

    usage = Usage.model_validate_json(received.payload)
    assert (usage.rate_1m, usage.last_model, usage.thinking_ratio) == (SAMPLE, "opus", 0.2)
    assert usage.cache_hit_rate == pytest.approx(1000 / 1060)
    assert not usage.idle
    assert not usage.stall


def test_history_never_moves_the_tach(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """Lines of an hour ago, found at the start or copied by a fork, fill the block and leave the rate alone."""
    old = [assistant(time.time() - 3600 + n, n) for n in range(5)]
    claude.append(*old)
    with Publishing(tmp_path / "run", env=env):
        listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 5 * SAMPLE)
        claude.append(*old, assistant(time.time() - 1800, 99), name="fork.jsonl")
        received = listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 6 * SAMPLE)

    assert _usage(received)["rate_1m"] == 0
    assert _usage(received)["idle"]


def test_sigterm_says_offline_and_ends_well(env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """SIGTERM publishes `offline`, retained, and exits 0."""
    with Publishing(tmp_path / "run", env=env) as publishing:
        listener.wait(lambda received: received.topic == TOPIC)
        code = publishing.end()

    listener.wait(lambda received: (received.topic, received.payload) == (STATUS, b"offline"))
    assert code == 0


def test_second_publisher_on_this_machine_is_refused(env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """A second publisher of the same node exits 75 and names the first."""
    with Publishing(tmp_path / "run", env=env) as publishing:
        listener.wait(lambda received: received.topic == TOPIC)
        second = run("publish", env=env)

        assert second.returncode == 75
        assert str(publishing.pid) in second.stderr


def test_once_publishes_prints_and_ends(claude: ClaudeHome, env: dict[str, str], broker: Mosquitto) -> None:
    """`publish --once` prints the very bytes that a late subscriber finds."""
    claude.append(assistant(time.time(), 1))
    once = run("publish", "--once", env=env)

    with Listener(broker.port, "claude-gauge/#") as late:
        received = late.wait(lambda received: received.topic == TOPIC)
    assert once.returncode == 0
    assert received.payload.decode() == once.stdout.strip()


def test_show_says_where_its_figures_come_from(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """`show` computes when no publisher runs, reads the topic when one does, and says which."""
    claude.append(assistant(time.time(), 1))
    alone = call("show", "--json", env=env)
    with Publishing(tmp_path / "run", env=env):
        listener.wait(lambda received: _usage(received).get("window_5h_tokens") == SAMPLE)
        beside = call("show", "--json", env=env)

    assert "computed here" in alone.stderr
    assert "from claude-gauge/test/usage" in beside.stderr
    assert json.loads(alone.stdout)["window_5h_tokens"] == json.loads(beside.stdout)["window_5h_tokens"] == SAMPLE


def test_show_of_another_node(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """`show --node X` shows X's topic or fails: it never prints this machine's figures under another's name."""
    claude.append(assistant(time.time(), 1))
    other = call("show", "--json", "--node", "elsewhere", env=env)
    own = call("show", "--json", "--node", "test", env=env)
    with Publishing(tmp_path / "run", "--node", "elsewhere", env=env):
        listener.wait(lambda received: received.topic == "claude-gauge/elsewhere/usage")
        there = call("show", "--json", "--node", "elsewhere", env=env)

    assert (other.returncode, other.stdout) == (1, "")
    assert "nothing received yet; is its publisher running? This machine is test" in other.stderr
    assert json.loads(own.stdout)["window_5h_tokens"] == SAMPLE
    assert json.loads(there.stdout)["node"] == "elsewhere"


def test_embedded_broker_comes_and_goes_with_the_publisher(
    claude: ClaudeHome, env: dict[str, str], tmp_path: Path
) -> None:
    """`--broker embedded` brings a broker on loopback, says where it is, and takes it away at the end."""
    claude.append(assistant(time.time(), 1))
    with Publishing(tmp_path / "run", "--broker", "embedded", env=env) as publishing:
        found = wait_until(lambda: re.findall(r"started one on 127\.0\.0\.1:(\d+)", publishing.log), "the broker")
        with Listener(int(found[0]), "claude-gauge/#") as listener:
            listener.wait(lambda received: _usage(received).get("window_5h_tokens") == SAMPLE)
        publishing.end()

    assert not answers(int(found[0]))
