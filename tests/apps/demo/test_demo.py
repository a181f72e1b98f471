from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto, find_mosquitto
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.payloads import usage
from tests.support.publisher import call, environment, run
from tests.support.raw_broker import RawBroker, refusing
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.demo.app import TranscriptWriter, admitted, earlier, live
from claude_gauge.config import Settings
from claude_gauge.contract.usage import Part, Usage, node_fault, stamp
from claude_gauge.mqtt.retained import Retained
from claude_gauge.outlets.homeassistant.discovery import discovery, discovery_topic


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
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
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


def clean(port: int) -> bool:
    """Return whether the broker keeps nothing at all."""
    with Listener(port) as late:
        late.client.publish("end", b"", qos=1)
        late.wait(lambda received: received.topic == "end")
        return [received.topic for received in late.messages] == ["end"]


def test_a_real_broker_can_be_driven(env: dict[str, str], broker: Mosquitto) -> None:
    """With --broker a demo drives what listens there, by a demo's name, marked as made up; then all is gone."""
    with Listener(broker.port) as listener:
        _lines(env, "--broker", broker.url, "--node", "desk", "--discovery", "homeassistant")

        received = listener.wait(
            lambda received: received.topic == "claude-gauge/demo-desk/usage" and received.payload != b""
        )
        listener.wait(lambda received: received.topic.startswith("homeassistant/device/") and received.payload != b"")
        listener.wait(
            lambda received: (received.topic, received.payload) == ("claude-gauge/demo-desk/status", b"offline")
        )
        assert not [
            received for received in listener.messages if "/desk" in received.topic or "_desk" in received.topic
        ]
    usage = Usage.model_validate_json(received.payload)
    assert usage.made_up
    assert {part.source for part in usage.sources.values()} == {"demo"}
    assert clean(broker.port)


@pytest.mark.parametrize("by", ["file", "environment"])
def test_settings_lead_no_demo_to_a_broker(env: dict[str, str], broker: Mosquitto, tmp_path: Path, by: str) -> None:
    """A broker, a node and a command for alerts in the settings are a real node's: a demo uses none of them."""
    own = {"broker": broker.url, "node": "desk", "discovery": "homeassistant", "account": "me", "alerts": "0.01"}
    own["alert_command"] = f"touch {tmp_path / 'alerted'}"
    if by == "file":
        (tmp_path / "config.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in own.items()))
        env = {**env, "CLAUDE_GAUGE_CONFIG": str(tmp_path / "config.toml")}
    else:
        env = {**env, **{f"CLAUDE_GAUGE_{name.upper()}": value for name, value in own.items()}}
    payloads, _ = _lines(env)

    assert {(each["node"], each["account"]) for each in payloads} == {("demo", None)}
    assert not (tmp_path / "alerted").exists()
    assert clean(broker.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_signals_leave_nothing_behind(env: dict[str, str], broker: Mosquitto, number: int) -> None:
    """However a demo ends, its topics and its device are gone; even a killed one is not online for ever."""
    command = [sys.executable, "-m", "claude_gauge", "demo", "--lines", "--broker", broker.url]
    announce = ["--discovery", "homeassistant"] if number != signal.SIGKILL else []
    with Listener(broker.port) as listener:
        demo = subprocess.Popen([*command, *announce], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        listener.wait(lambda received: received.topic == "claude-gauge/demo/usage")
        demo.send_signal(number)
        _, said = demo.communicate(timeout=PATIENCE_S)
        listener.wait(lambda received: (received.topic, received.payload) == ("claude-gauge/demo/status", b""))

    assert b"Traceback" not in said
    if number != signal.SIGKILL:
        assert demo.returncode == (130 if number == signal.SIGINT else 0)
        assert clean(broker.port)


def test_broker_that_is_not_there(env: dict[str, str]) -> None:
    """A broker that was asked for and is not there ends the demo with the reason: nobody knows which names are free."""
    done = call("demo", "--lines", "--seconds", "2", "--broker", f"mqtt://127.0.0.1:{free_port()}", env=env)

    assert (done.returncode, done.stdout) == (1, "")
    assert "refuses the connection" in done.stderr


def _kept(broker: Mosquitto, topics: dict[str, bytes]) -> None:
    with Retained(Settings(broker=broker.url), *topics) as retained:
        retained.connect()
        retained.write(topics)


def _is_kept(broker: Mosquitto, topic: str) -> bool:
    with Retained(Settings(broker=broker.url), topic) as retained:
        retained.connect()
        retained.look(topics=1)
        return topic in retained.held


REAL = usage(node="demo").to_json()
DEMO_PART = {"tach": Part(source="demo", ok=True)}
MADE_UP = usage(node="demo-x", sources=DEMO_PART).to_json()
OLD = usage(node="demo-old", sources=DEMO_PART, updated_at=stamp(time.time() - 3600)).to_json()


@pytest.mark.parametrize("kept", [{"status": b"online"}, {"status": b"offline"}, {"usage": REAL}])
def test_node_that_is_really_called_demo(env: dict[str, str], broker: Mosquitto, kept: dict[str, bytes]) -> None:
    """A demo takes no name that a machine or another demo has: it finds another, or refuses the one that was given."""
    _kept(broker, {f"claude-gauge/demo/{leaf}": payload for leaf, payload in kept.items()})
    settings = Settings(broker=broker.url, node="demo", discovery="off")
    node = admitted(settings, named=False).node

    assert re.fullmatch("demo-[0-9a-f]{4}", node)
    assert node_fault(node) == ""
    done = call("demo", "--lines", "--seconds", "1", "--broker", broker.url, "--node", "demo", env=env)
    assert done.returncode == 1
    assert "name another with --node" in done.stderr


def test_demo_that_may_not_see_who_is_there(env: dict[str, str]) -> None:
    """Where the broker does not show who has a name, a demo takes one that nobody has, or refuses a given one."""
    with RawBroker(refusing) as hidden:
        node = admitted(Settings(broker=hidden.url, node="demo", discovery="off"), named=False).node
        done = call("demo", "--lines", "--seconds", "1", "--broker", hidden.url, "--node", "demo-x", env=env)

    assert re.fullmatch("demo-[0-9a-f]{4}", node)
    assert done.returncode == 1
    assert "does not let us read claude-gauge/demo-x/status" in done.stderr


def test_killed_demos_are_cleared_by_the_next(broker: Mosquitto) -> None:
    """Device and payload of a killed demo go with the next one's start; those of machines and running demos stay."""
    prefix = broker.url.rpartition(":")[2]  # a discovery prefix of this test's own
    devices = {name: discovery_topic(prefix, name) for name in ("demo-x", "demo-old", "demo-runs", "demo-real")}
    topics = {devices[name]: discovery(name, made_up=name != "demo-real") for name in devices}
    crashed = {"claude-gauge/demo-old/status": b"online", "claude-gauge/demo-old/usage": OLD}  # after its broker
    old = {"claude-gauge/demo-x/usage": MADE_UP, **crashed}
    runs = {"claude-gauge/demo-runs/status": b"online", "claude-gauge/demo-runs/usage": MADE_UP}
    _kept(broker, {**topics, **old, **runs})
    _kept(broker, {"claude-gauge/demo-real/usage": REAL})
    node = admitted(Settings(broker=broker.url, node="demo-x", discovery=prefix), named=True).node

    assert node == "demo-x"
    assert [name for name, topic in devices.items() if _is_kept(broker, topic)] == ["demo-runs", "demo-real"]
    assert not any(_is_kept(broker, topic) for topic in old)
    assert _is_kept(broker, "claude-gauge/demo-runs/usage")
    assert _is_kept(broker, "claude-gauge/demo-real/usage")


def test_writer_outlives_a_disk_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the made-up transcripts can't be written the log says so once; the day goes on when they can be again."""
    writer = TranscriptWriter(tmp_path, speed=1000)
    writer.start()
    file = next(tmp_path.rglob("*.jsonl"))
    (tmp_path / "projects").rename(tmp_path / "away")
    wait_until(lambda: "cannot write" in caplog.text, "the warning")
    size = next(tmp_path.rglob("*.jsonl")).stat().st_size
    (tmp_path / "away").rename(tmp_path / "projects")
    wait_until(lambda: file.stat().st_size > size, "the next line")
    writer.stop()

    assert caplog.text.count("cannot write") == 1
