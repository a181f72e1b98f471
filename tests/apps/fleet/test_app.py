"""The running fleet against a real broker, as the process that a person starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.apps.fleet.conftest import usage
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import PATIENCE_S, wait_until
from tests.support.publisher import Publishing, environment, run
from tests.support.raw_broker import PUBLISH, SUBSCRIBE, RawBroker, Wire, packet
from tests.support.swarm import Swarm
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.fleet.app import NONE_ON, NOT_READABLE, Fleet
from claude_gauge.config import Settings
from claude_gauge.contract.usage import Usage, stamp

TOPIC = "claude-gauge/all/usage"


@contextmanager
def fleet(broker: Mosquitto, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A fleet process that lives as long as the `with`."""
    command = [sys.executable, "-m", "claude_gauge", "fleet", "--broker", broker.url, "--state-dir", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            yield process
        finally:
            process.terminate()


def payload(**changes: object) -> bytes:
    """A node's payload, made now."""
    return usage(updated_at=stamp(time.time()), **changes).to_json()


def merged(received: Received) -> Usage | None:
    """The merged payload in a message, if it is one."""
    return Usage.model_validate_json(received.payload) if received.topic == TOPIC and received.payload else None


def totals(rate: float) -> Callable[[Received], bool]:
    """Whether a message is the merged payload with this rate."""
    return lambda received: (found := merged(received)) is not None and found.rate_1m == rate


def test_nodes_come_and_go(broker: Mosquitto, tmp_path: Path) -> None:
    """Nodes are merged as they come, dropped as they say goodbye; the fleet has a status and a device of its own."""
    with Listener(broker.port) as listener, fleet(broker, tmp_path / "state"), Swarm(broker.port, 2) as swarm:
        swarm.say("n0", "claude-gauge/n0/status", b"online")
        swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=10))
        listener.wait(totals(10))
        swarm.say("n1", "claude-gauge/n1/usage", payload(rate_1m=5))
        listener.wait(totals(15))
        swarm.say("n0", "claude-gauge/n0/status", b"offline")
        last = merged(listener.wait(totals(5)))

        assert last is not None
        assert last.sources["nodes"].model_dump() == {"source": "1 node", "ok": True, "why": "1 off"}
        assert listener.wait(lambda m: m.topic == "claude-gauge/all/status").payload == b"online"
        device = listener.wait(lambda m: m.topic == "homeassistant/device/claude_gauge_all/config")
        assert json.loads(device.payload)["device"]["name"] == "Claude Code fleet"


def test_remembers_what_an_absent_machine_used(broker: Mosquitto, tmp_path: Path) -> None:
    """A machine that went keeps its share of the running window in the sum, also over a restart of the fleet."""
    window = {"window_5h_tokens": 600, "window_5h_resets_at": stamp(time.time() + 3600)}
    with Swarm(broker.port, 1) as swarm:
        with Listener(broker.port) as listener, fleet(broker, tmp_path / "state"):
            swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=10, **window))
            listener.wait(totals(10))
            swarm.say("n0", "claude-gauge/n0/status", b"offline")
            swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=10, **window))
            gone = merged(listener.wait(totals(0)))
        swarm.say("n0", "claude-gauge/n0/usage", b"")
        with Listener(broker.port) as listener, fleet(broker, tmp_path / "state"):
            again = merged(listener.wait(lambda m: (u := merged(m)) is not None and u.window_5h_tokens == 600))

    assert gone is not None
    assert again is not None
    assert (gone.window_5h_tokens, again.window_5h_tokens, again.rate_1m) == (600, 600, 0)


@pytest.mark.parametrize(
    ("end", "why", "ok"), [(signal.SIGTERM, "1 off", True), (signal.SIGKILL, "1 lost", False)], ids=["goodbye", "crash"]
)
def test_how_a_real_publisher_went(
    broker: Mosquitto, tmp_path: Path, end: signal.Signals, why: str, *, ok: bool
) -> None:
    """The fleet distinguishes a publisher that said goodbye from one that was killed."""
    home = ClaudeHome(tmp_path / "claude")
    env = environment(home, tmp_path)
    with (
        Listener(broker.port) as listener,
        fleet(broker, tmp_path / "state"),
        Publishing(tmp_path / "log", "--broker", broker.url, "--node", "desk", "--http", "off", env=env) as publisher,
    ):
        listener.wait(lambda m: (u := merged(m)) is not None and u.sources["nodes"].source == "1 node")
        publisher.end(end)
        last = merged(listener.wait(lambda m: (u := merged(m)) is not None and u.sources["nodes"].source == "0 nodes"))
        with Swarm(broker.port, 1) as swarm:
            swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=10))
            last = merged(listener.wait(totals(10)))

    assert last is not None
    assert (last.sources["nodes"].why, last.sources["nodes"].ok) == (why, ok)


def test_ends_in_good_order(broker: Mosquitto, tmp_path: Path) -> None:
    """Ended by a signal, the fleet says `offline` and exits with 0."""
    with Listener(broker.port, "claude-gauge/all/#") as listener, fleet(broker, tmp_path / "state") as process:
        listener.wait(lambda m: m.payload == b"online")
        process.send_signal(signal.SIGTERM)

        listener.wait(lambda m: m.topic.endswith("status") and m.payload == b"offline")
        assert process.wait(PATIENCE_S) == 0


def test_shown_like_any_node(broker: Mosquitto, tmp_path: Path) -> None:
    """`--node all` shows what the fleet merged, or says that no fleet runs; no publisher takes that name."""
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)
    before = run("show", "--node", "all", env=env), run("watch", "--once", "--node", "all", env=env)
    swarm = Swarm(broker.port, 1)
    with Listener(broker.port, TOPIC) as listener, swarm, fleet(broker, tmp_path / "state"):
        swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=1234))
        listener.wait(totals(1234))
        shown, drawn = (run(*words, "--node", "all", env=env) for words in (["show", "--json"], ["watch", "--once"]))
    refused = run("publish", "--once", "--node", "all", env=env), run("show", env={**env, "CLAUDE_GAUGE_NODE": "all"})

    assert [(each.returncode, "claude-gauge fleet" in each.stderr) for each in before] == [(1, True)] * 2
    assert json.loads(shown.stdout)["rate_1m"] == 1234
    assert "1.23 k" in drawn.stdout
    assert [(each.returncode, "all nodes merged" in each.stderr) for each in refused] == [(2, True)] * 2


def test_second_fleet(broker: Mosquitto, tmp_path: Path) -> None:
    """A second fleet at the same broker finds the first one at work, says so and ends with 75."""
    with Listener(broker.port, TOPIC) as listener, fleet(broker, tmp_path / "one"):
        listener.wait(lambda m: merged(m) is not None)
        with Swarm(broker.port, 1) as swarm, fleet(broker, tmp_path / "two") as second:
            for rate in range(1, 200):  # a fleet that has nothing to say speaks at its next heartbeat only
                swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=rate))
                if second.poll() is not None:
                    break
                swarm.read(0.05)
                time.sleep(0.05)

            assert second.wait(PATIENCE_S) == 75
            assert "another fleet" in (second.stderr.read() if second.stderr else "")


def test_nodes_that_may_not_be_read(tmp_path: Path) -> None:
    """A fleet whose broker shows it no node says that in its payload, and not that no node is on."""
    said: list[bytes] = []

    def refusing(_number: int, wire: Wire) -> None:
        for each in wire.packets():
            if each.kind == SUBSCRIBE:
                wire.send(packet(9, each.mid.to_bytes(2, "big") + b"\0\x87"))
                continue
            wire.answer(each)
            said.extend([each.payload] if each.kind == PUBLISH and each.topic == TOPIC else [])

    def why() -> list[str]:
        return [json.loads(each)["sources"]["nodes"]["why"] for each in said]

    with RawBroker(refusing) as at:
        running = Fleet(Settings(broker=at.url, state_dir=tmp_path, discovery="off"))
        thread = threading.Thread(target=running.run)
        thread.start()
        try:
            wait_until(lambda: NOT_READABLE in why(), "a payload that says so")
        finally:
            running.stop()
            thread.join(PATIENCE_S)

    assert NONE_ON not in why()[why().index(NOT_READABLE) :]


def test_broker_crashes(broker: Mosquitto, tmp_path: Path) -> None:
    """After a broker loss the merged payload is there again, and nodes that come back are in it."""
    with fleet(broker, tmp_path / "state"):
        with Listener(broker.port, TOPIC) as listener, Swarm(broker.port, 1) as swarm:
            swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=10))
            listener.wait(totals(10))
        broker.kill()
        broker.start()

        with Listener(broker.port, TOPIC) as listener, Swarm(broker.port, 1) as swarm:
            listener.wait(totals(10))
            swarm.say("n0", "claude-gauge/n0/usage", payload(rate_1m=20))
            listener.wait(totals(20))


def test_many_nodes(broker: Mosquitto, tmp_path: Path) -> None:
    """Of 200 nodes that all speak at once none is starved: the sum settles on everyone's newest payload."""
    rounds = 5
    with (
        Listener(broker.port, TOPIC) as listener,
        fleet(broker, tmp_path / "state"),
        Swarm(broker.port, 200) as swarm,
    ):
        for turn in range(1, rounds + 1):
            for number, name in enumerate(swarm.names):
                rate = number + 1 if turn == rounds else turn * 1000
                swarm.say(name, f"claude-gauge/{name}/usage", payload(rate_1m=rate))
            swarm.read(10)

        last = merged(listener.wait(totals(sum(range(1, 201)))))
        assert swarm.acked == 200 * rounds
        assert last is not None
        assert last.sources["nodes"].source == "200 nodes"
