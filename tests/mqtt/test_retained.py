"""Writes that a broker refuses are not done, whether it says so or not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S
from tests.support.payloads import usage
from tests.support.publisher import call, environment
from tests.support.raw_broker import SUBSCRIBE, RawBroker, Script, Wire, forgetful, packet, refusing
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device.update import forget, forget_virtual
from claude_gauge.config import Settings
from claude_gauge.contract.usage import stamp
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import FIVE, NAMES, SURE, THREE, Versions
from claude_gauge.mqtt.retained import Retained
from claude_gauge.outlets.homeassistant.announcer import remove

ACL = """\
user admin
topic readwrite #
user reader
topic read #
user writer
topic write #
user desk
topic readwrite claude-gauge/desk/#
topic read claude-gauge/#
"""
PASSWORD = "p"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with users that may do different things."""
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    passwords.touch(mode=0o600)
    acl.write_text(ACL)
    for user in ("admin", "reader", "writer", "desk"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, PASSWORD], check=True, capture_output=True)
    lines = [f"password_file {passwords}", f"acl_file {acl}"]
    with Mosquitto(tmp_path / "broker", *lines, anonymous=False) as running:
        yield running


def url(broker: Mosquitto, user: str) -> str:
    """Return the broker's URL for this user."""
    return broker.url.replace("//", f"//{user}@")


def retained(broker: Mosquitto, user: str, version: MQTTProtocolVersion, *filters: str) -> Retained:
    """Look at topics as this user, by this version."""
    made = Retained(Settings(broker=url(broker, user), broker_password=PASSWORD), *filters)
    made.link._versions = Versions(doubts=0 if version == FIVE else SURE, next=version)
    return made


@pytest.mark.parametrize("version", [FIVE, THREE], ids=["mqtt5", "mqtt311"])
@pytest.mark.parametrize("payload", [b"1", b""], ids=["value", "removal"])
def test_write(closed: Mosquitto, version: MQTTProtocolVersion, payload: bytes) -> None:
    """A write that the broker takes is done; one that it refuses, in words or in silence, is an error."""
    with retained(closed, "admin", version, "t/+") as allowed:
        allowed.connect()
        allowed.write({"t/1": payload})
        assert allowed.link.version == NAMES[version]

    with retained(closed, "reader", version, "t/+") as refused:
        refused.connect()
        with pytest.raises(GaugeError, match=r"t/1.*check its ACL"):
            refused.write({"t/1": payload})


def test_write_that_cannot_be_proved(closed: Mosquitto) -> None:
    """On MQTT 3.1.1 a user that may write and not read learns that nothing came back."""
    with retained(closed, "writer", THREE, "t/+") as unproved:
        unproved.connect()
        with pytest.raises(GaugeError, match="may not read it"):
            unproved.write({"t/1": b"1"})


@pytest.fixture
def env(tmp_path: Path, closed: Mosquitto) -> dict[str, str]:
    """Give an environment of a user that may read all and write nothing."""
    broker = {"CLAUDE_GAUGE_BROKER": url(closed, "reader"), "CLAUDE_GAUGE_BROKER_PASSWORD": PASSWORD}
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path, **broker)


@pytest.mark.parametrize("arguments", [
    ("publish", "--once", "--node", "desk"),
    ("discovery", "remove", "--node", "old"),
    ("firmware", "update", "--device", "shelf", "--sources"),
    ("firmware", "forget", "shelf"),
], ids=lambda arguments: " ".join(arguments[:2]))  # fmt: skip
def test_refused_is_not_done(env: dict[str, str], closed: Mosquitto, arguments: tuple[str, ...]) -> None:
    """A command whose write the broker refuses says so in one line and exits 1."""
    with Listener(closed.port, "none", user="admin", password=PASSWORD) as admin:
        for topic in ("homeassistant/device/claude_gauge_old/config", "claude-gauge/device/shelf/status"):
            admin.client.publish(topic, b"offline", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    done = call(*arguments, env=env)

    assert done.returncode == 1
    assert re.match(r"error: broker 127\.0\.0\.1:\d+ does not take ", done.stderr.splitlines()[-1])
    assert arguments[0] == "publish" or len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_user_that_may_not_see_what_it_removes(env: dict[str, str], closed: Mosquitto) -> None:
    """A publisher's own user learns that the topics of another node are not its to clear."""
    env = {**env, "CLAUDE_GAUGE_BROKER": url(closed, "desk")}
    done = call("discovery", "remove", "--node", "old", env=env)

    assert done.returncode == 1
    assert "does not take claude-gauge/old/status: not authorized" in done.stderr


def test_online_in_the_memory_of_a_broker_alone(broker: Mosquitto) -> None:
    """A node that went while the broker was down counts as online for ever there: what it left can be removed."""
    kept = {"claude-gauge/old/status": b"online", "claude-gauge/old/usage": usage(updated_at=stamp(0)).to_json()}
    settings = Settings(broker=broker.url)
    with Retained(settings, *kept) as retained:
        retained.connect()
        retained.write(kept)
    removal = remove(settings, "old", patience_s=0.1)
    with Retained(settings, *kept) as retained:
        retained.connect()
        retained.look(topics=1)

        assert (removal.seen, removal.online, retained.held) == (2, False, {})


def test_removal_clears_all(env: dict[str, str], closed: Mosquitto) -> None:
    """`discovery remove` clears discovery, usage and status; `firmware forget` all of a board."""
    env = {**env, "CLAUDE_GAUGE_BROKER": url(closed, "admin")}
    topics = ["homeassistant/device/claude_gauge_old/config", "claude-gauge/old/usage", "claude-gauge/old/status"]
    board = ["homeassistant/device/claude_gauge_device_shelf/config", "claude-gauge/device/shelf/status",
             "claude-gauge/device/shelf/diagnostics", "claude-gauge/device/shelf/update/state"]  # fmt: skip
    with Listener(closed.port, "none", user="admin", password=PASSWORD) as admin:
        for topic in topics + board:
            admin.client.publish(topic, b"offline", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    removed = call("discovery", "remove", "--node", "old", env=env)
    forgot = call("firmware", "forget", "shelf", env=env)
    again = call("firmware", "forget", "shelf", env=env)

    assert (removed.returncode, forgot.returncode, again.returncode) == (0, 0, 1), (removed, forgot, again)
    assert "shows nothing of a board shelf" in again.stderr
    with Listener(closed.port, user="admin", password=PASSWORD) as late:
        late.client.publish("end", b"", qos=1)
        late.wait(lambda received: received.topic == "end")
        assert [received.topic for received in late.messages] == ["end"]


def keeping_nothing(number: int, wire: Wire) -> None:
    """Say at CONNACK that no retained messages are kept."""
    forgetful(number, wire, connack=packet(2, b"\0\0\2\x25\0"))


def ending(_number: int, wire: Wire) -> None:
    """End the connection at a subscription, as RabbitMQ and AWS IoT do."""
    for each in wire.packets():
        if each.kind == SUBSCRIBE:
            return
        wire.answer(each)


@pytest.mark.parametrize(("script", "command", "code", "words"), [
    (refusing, "list", 1, "does not let us read claude-gauge/device/"),
    (refusing, "update --device shelf --sources", 0, "does not let us read claude-gauge/device/"),
    (refusing, "forget shelf", 1, "does not let us read claude-gauge/device/shelf/#"),
    (ending, "list", 1, "closes the connection where we ask for claude-gauge/device/"),
    (keeping_nothing, "list", 1, "keeps no retained messages"),
    (keeping_nothing, "update --device shelf --sources", 1, "keeps no retained messages"),
])  # fmt: skip
def test_boards_that_may_not_be_seen(tmp_path: Path, script: Script, command: str, code: int, words: str) -> None:
    """A user that may not read the boards' topics is told so, not that there is no board or that it is off."""
    with RawBroker(script) as broker:
        env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)
        done = call("firmware", *command.split(), env=env)

    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done
    assert "is away" not in done.stdout


@pytest.mark.parametrize(("command", "words"), [
    ("discovery remove --node old", "so nothing of old was removed"),
    ("discovery remove --fleet", "so nothing of all was removed"),
    ("show --node old", "is its publisher running?"),
    ("watch --once --node old", "check its ACL"),
])  # fmt: skip
def test_refusal_is_not_emptiness(tmp_path: Path, command: str, words: str) -> None:
    """A command that sees nothing because the broker refuses to show it says so and exits 1."""
    with RawBroker(refusing) as broker:
        env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)
        done = call(*command.split(), env=env)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: broker {broker.place} does not let us read claude-gauge/" in done.stderr
    assert "not authorized: check its ACL" in done.stderr
    assert words in done.stderr


def hiding_discovery(_number: int, wire: Wire) -> None:
    """Take every message, and refuse to show what is not below claude-gauge/."""
    for each in wire.packets():
        if each.kind == SUBSCRIBE and not each.filter.startswith("claude-gauge/"):
            wire.send(packet(9, each.mid.to_bytes(2, "big") + b"\0\x87"))
        else:
            wire.answer(each)


def test_hidden_discovery_is_cleared(tmp_path: Path) -> None:
    """A device that may be written and not be seen is removed all the same, and said to be what it may have been."""
    with RawBroker(hiding_discovery) as broker:
        env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)
        done = call("discovery", "remove", "--node", "old", env=env)

    assert (done.returncode, done.stdout) == (0, "cleared what the broker may have had of old\n")
    assert "does not let us read homeassistant/device/claude_gauge_old/config" in done.stderr


@pytest.mark.parametrize("script", [forgetful, keeping_nothing])
def test_broker_that_keeps_nothing(tmp_path: Path, script: Script) -> None:
    """`publish --once` says once that nobody who comes later will see it, whether the broker tells us or not."""
    with RawBroker(script) as broker:
        env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)
        done = call("publish", "--once", env=env)

    assert done.returncode == 0
    assert done.stderr.count(f"broker {broker.place} keeps no retained messages: who subscribes later sees") == 1


def test_broker_that_keeps_it(tmp_path: Path, broker: Mosquitto) -> None:
    """Where the broker keeps the payload there is nothing to say."""
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_BROKER=broker.url)

    assert "WARNING" not in call("publish", "--once", "--node", "kept", env=env).stderr


@pytest.mark.parametrize("device", ["+", "#", "a/b", "", "a/#", "x\n"])
def test_no_boards_id(device: str) -> None:
    """What would mean other boards' topics, too, is refused before anything is written."""
    with pytest.raises(GaugeError, match="is no board's id"):
        forget(Settings(broker="mqtt://127.0.0.1:1"), device)


def test_virtual_boards_that_were_killed(closed: Mosquitto) -> None:
    """What killed `sim`s left is removed when another one ends; boards, and one that runs, keep theirs."""
    kept = {f"claude-gauge/device/{name}" for name in ("sim0123abcd/status", "shelf/status", "sim-x/status")}
    left = {f"claude-gauge/device/{name}" for name in ("sim89abcdef/status", "sim89abcdef/settings", "simown/status")}
    with Listener(closed.port, "none", user="admin", password=PASSWORD) as admin:
        for topic in kept | left:
            said = b"online" if "0123abcd" in topic else b"offline"
            admin.client.publish(topic, said, qos=1, retain=True).wait_for_publish(PATIENCE_S)
    forget_virtual(Settings(broker=url(closed, "admin"), broker_password=PASSWORD), "simown")

    with Listener(closed.port, user="admin", password=PASSWORD) as late:
        late.client.publish("end", b"", qos=1)
        late.wait(lambda received: received.topic == "end")
        assert {received.topic for received in late.messages} == {*kept, "end"}
