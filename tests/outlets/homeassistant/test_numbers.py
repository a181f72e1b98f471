"""Ceiling and redline set over MQTT: what is taken, what holds over restarts, and who may set them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import PATIENCE_S, wait_until
from tests.support.payloads import at_rest
from tests.support.publisher import Publishing, run
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.usages import wait_usage
from tests.support.users import PASSWORD, closed, signing_in

from claude_gauge.apps.broker.roles import Role, User
from claude_gauge.config import Settings
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Handler, Message
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.outlets.homeassistant.numbers import Numbers, checked, held, offer

SETTINGS = ("ceiling_5h", "redline")
TOPICS = {"ceiling_5h": "claude-gauge/desk/set/ceiling", "redline": "claude-gauge/desk/set/redline"}
USERS = [
    User(name="desk", role=Role.PUBLISHER),
    User(name="lap", role=Role.PUBLISHER),
    User(name="homeassistant", role=Role.HOMEASSISTANT),
    User(name="viewer", role=Role.VIEWER),
    User(name="shelf", role=Role.DEVICE),
    User(name="all", role=Role.FLEET),
    User(name="bench", role=Role.UPDATER),
]
STRANGERS = [user.name for user in USERS if user.name not in {"desk", "homeassistant"}]


class Wire:
    """A link without a broker: keeps what is announced and sent, and hands over orders."""

    def __init__(self) -> None:
        self.announced: dict[str, bytes] = {}
        self.cleared: list[str] = []
        self._handler: Handler = lambda _: None

    def announce(self, topic: str, payload: bytes) -> None:
        """Keep a topic's newest value."""
        self.announced[topic] = payload

    def send(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> bool:
        """Take what is sent once: here only to clear a retained order."""
        assert (payload, qos, retain) == (b"", 1, True)
        self.cleared.append(topic)
        return True

    def listen(self, topic_filter: str, handler: Handler) -> None:
        """Keep who is reported orders."""
        assert topic_filter in TOPICS.values()
        self._handler = handler

    def order(self, setting: str, payload: bytes, *, retain: bool = False) -> None:
        """Deliver an order."""
        self._handler(Message(TOPICS[setting], payload, retain=retain))

    @property
    def shown(self) -> dict[str, Any]:
        """What the settings topic shows."""
        return dict(json.loads(self.announced["claude-gauge/desk/settings"]))


def settings_of(folder: Path, **more: Any) -> Settings:  # noqa: ANN401 - any setting
    """Settings of a publisher that signs in."""
    known = {"broker": "mqtt://desk@localhost", "broker_password": SecretStr(PASSWORD), "node": "desk"}
    return Settings(**{**known, "state_dir": folder, **more})


@contextmanager
def numbers(settings: Settings, reported: Callable[[Settings], None] = lambda _: None) -> Iterator[Wire]:
    """The numbers of one run of the publisher, which ends in good order."""
    wire = Wire()
    made = Numbers(cast(Link, wire), settings, reported)
    made.start()
    yield wire
    made.stop()


GOOD = {"ceiling_5h": st.integers(1, 10**15), "redline": st.integers(1, 10**15) | st.floats(1, 1e15)}
BAD = [
    b"",
    b"0",
    b"-5",
    b"nan",
    b"inf",
    b"-inf",
    b"1e16",
    b"ten",
    b"\xff\xfe",
    b"{}",
    b"0x10",
    b"1,5",
    b"0.4",
    b"9" * 400,
]
EVENTS = st.one_of(
    st.sampled_from(SETTINGS).flatmap(lambda name: st.tuples(st.just("order"), st.just(name), GOOD[name])),
    st.tuples(st.just("retained"), st.sampled_from(SETTINGS), st.integers(1, 10**6)),
    st.tuples(st.just("bad"), st.sampled_from(SETTINGS), st.sampled_from(BAD)),
    st.tuples(st.just("restart"), st.sampled_from(SETTINGS), st.none()),
    st.sampled_from(SETTINGS).flatmap(lambda name: st.tuples(st.just("configured"), st.just(name), st.integers(1, 4))),
)


@given(events=st.lists(EVENTS, max_size=12))
def test_what_was_said_last_holds(events: list[tuple[str, str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of orders, and of settings that were changed between two runs, the last one holds; nothing else changes them."""
    folder, given_settings = tmp_path_factory.mktemp("state"), {"ceiling_5h": 1, "redline": 2.0}
    holds: dict[str, float] = dict(given_settings)
    while True:
        with numbers(settings_of(folder, **given_settings)) as wire:
            while events and events[0][0] not in {"restart", "configured"}:
                what, name, value = events.pop(0)
                payload = value if isinstance(value, bytes) else str(value).encode()
                wire.order(name, payload, retain=what == "retained")
                if what == "order":
                    holds[name] = value

                assert wire.shown["ceiling"] == holds["ceiling_5h"]
                assert wire.shown["redline"] == holds["redline"]
        again = held(settings_of(folder, **given_settings))
        assert (again.ceiling_5h, again.redline) == (holds["ceiling_5h"], holds["redline"])
        if not events:
            break
        what, name, value = events.pop(0)
        if what == "configured" and value != given_settings[name]:
            holds[name] = given_settings[name] = value


@pytest.mark.parametrize(("payload", "value"), [("1e6", 1_000_000), (" 250000 ", 250_000), ("7.6", 8), ("5.0", 5)])
def test_ways_to_write_a_number(payload: str, value: int) -> None:
    """A number counts however it is written; tokens are whole."""
    assert checked("ceiling_5h", payload) == value
    assert isinstance(checked("ceiling_5h", payload), int)


def test_whole_numbers_are_shown_whole(tmp_path: Path) -> None:
    """A redline from a flag or a file, a float there, is shown without a fraction that it does not have."""
    with numbers(settings_of(tmp_path, redline="5000")) as wire:
        assert b'"redline": 5000,' in wire.announced["claude-gauge/desk/settings"]


def test_bad_orders_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of orders that can't be carried out the first is reported, not in full; after a good one the next is."""
    with numbers(settings_of(tmp_path)) as wire:
        for payload in (*BAD, b"5000", b"x" * 10_000, b"y"):
            wire.order("redline", payload)
    reported = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    assert [each.partition(":")[0] for each in reported] == ["claude-gauge/desk/set/redline"] * 2
    assert "should be a number from 1 to 1,000,000,000,000,000" in reported[0]
    assert len(reported[1]) < 200


def test_order_that_the_broker_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A retained order is not carried out; it is cleared, and its sender's mistake is reported."""
    with numbers(settings_of(tmp_path)) as wire:
        wire.order("redline", b"5000", retain=True)
        wire.order("redline", b"", retain=False)  # the broker reports that it was cleared

        assert wire.cleared == ["claude-gauge/desk/set/redline"]
        assert wire.shown["redline"] == 1_000_000
    assert "was retained" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"redline": 5}', b'{"redline": {"set": 0, "in_place_of": 1e6}}']
)
def test_damaged_store(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file of another shape is reported, and the settings hold."""
    (tmp_path / "desk.numbers.json").write_bytes(content)

    assert held(settings_of(tmp_path)).redline == 1_000_000
    assert "what Home Assistant set" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"broker_password": None},
        {"broker": "mqtt://localhost"},
        {"broker": None},
        {"broker": "embedded"},
        {"discovery": "off"},
    ],
)
def test_only_where_the_publisher_signs_in(changes: dict[str, Any], tmp_path: Path) -> None:
    """Without a user and a password, or without discovery, nothing is offered, listened for, stored or held."""
    assert offer(settings_of(tmp_path, **changes)) == "none"
    with numbers(settings_of(tmp_path, **changes)) as wire:
        wire.order("redline", b"5000")
        assert wire.announced == {}
    assert list(tmp_path.glob("*.json")) == []
    with numbers(settings_of(tmp_path)) as wire:
        wire.order("redline", b"5000")

    assert held(settings_of(tmp_path)).redline == 5000
    assert held(settings_of(tmp_path, **changes)).redline == 1_000_000


def test_withdrawn_where_the_user_went(tmp_path: Path) -> None:
    """After a run with a user, a run without one takes the entities away and clears what they showed."""
    with numbers(settings_of(tmp_path)):
        pass
    alone = settings_of(tmp_path, broker="mqtt://localhost", broker_password=None)
    with numbers(alone) as wire:
        HomeAssistant(cast(Link, Whole(wire)), alone).start()

    assert wire.announced["claude-gauge/desk/settings"] == b""
    parts = json.loads(wire.announced["homeassistant/device/claude_gauge_desk/config"])["components"]
    assert {name: parts[name] for name in ("ceiling", "redline")} == {
        "ceiling": {"platform": "number"},
        "redline": {"platform": "number"},
    }


class Whole:
    """The same wire for a reader of other topics."""

    def __init__(self, wire: Wire) -> None:
        self.announce = wire.announce

    def listen(self, *_: object) -> None:
        """Take a subscription that is not looked at here."""


# From here on with the real broker and the real publisher.


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with a user of every role."""
    with closed(tmp_path / "closed", USERS) as broker:
        yield broker


@pytest.fixture
def claude(tmp_path: Path) -> ClaudeHome:
    """A Claude Code folder with one response of 1,160 tokens."""
    made = ClaudeHome(tmp_path / "claude")
    made.append(assistant(time.time(), 1))
    return made


@pytest.fixture
def env(tmp_path: Path, claude: ClaudeHome, home: Mosquitto) -> dict[str, str]:
    """The environment of the publisher of `desk`."""
    return signing_in(home, "desk", claude, tmp_path)


def listening(broker: Mosquitto, user: str = "homeassistant", topic: str = "#") -> Listener:
    """A client that signs in as this user."""
    return Listener(broker.port, topic, user=user, password=PASSWORD)


def order(listener: Listener, name: str, value: object, *, retain: bool = False) -> None:
    """Send an order, as this client."""
    info = listener.client.publish(f"claude-gauge/desk/set/{name}", str(value).encode(), qos=1, retain=retain)
    info.wait_for_publish(PATIENCE_S)


def obeyed(listener: Listener, name: str, value: float) -> None:
    """Send an order until the publisher shows it: one that comes before it has subscribed is lost."""
    after = len(listener.messages)

    def shown() -> bool:
        order(listener, name, value)
        return any(shows(name, value)(m) for m in listener.messages[after:])

    wait_until(shown, f"{name} to be set to {value}")


def retained(broker: Mosquitto) -> list[str]:
    """List the topics that the broker keeps."""
    with listening(broker) as late:
        late.client.publish("homeassistant/probe", b"all that is kept came before", qos=1)
        late.wait(lambda m: m.topic == "homeassistant/probe")
        return sorted(m.topic for m in late.messages if m.retained)


def shows(name: str, value: float) -> Callable[[Received], bool]:
    """Whether a message is the settings topic's, with this value."""
    return lambda m: (
        m.topic == "claude-gauge/desk/settings" and bool(m.payload) and json.loads(m.payload)[name] == value
    )


def test_set_kept_and_replaced(home: Mosquitto, env: dict[str, str], tmp_path: Path) -> None:
    """An order moves fuel and HOT at once and holds after a kill; a setting that is changed afterwards replaces it."""
    with listening(home) as listener:
        with Publishing(tmp_path / "log", env=env) as publisher:
            wait_usage(listener, lambda usage: usage["window_5h_tokens"] == SAMPLE and not usage["hot"])
            obeyed(listener, "ceiling", 2320)
            wait_usage(listener, lambda usage: usage["window_5h_pct"] == 0.5)
            order(listener, "redline", 1000)
            wait_usage(listener, lambda usage: usage["hot"] and usage["window_5h_pct"] == 0.5)
            listener.wait(shows("redline", 1000))
            stored = tmp_path / "state" / "desk.numbers.json"
            wait_until(lambda: len(json.loads(stored.read_bytes())) == len(SETTINGS), "both to be stored")
            before = len(listener.messages)
            publisher.end(signal.SIGKILL)
            publisher.start()
            wait_usage(listener, lambda usage: usage["window_5h_pct"] == 0.5, after=before)
            listener.wait(shows("redline", 1000), after=before)
            publisher.end()
        before = len(listener.messages)
        once = run("publish", "--once", env=env)
        config = run("config", env=env)
        with Publishing(tmp_path / "log", "--ceiling-5h", "4640", env=env) as publisher:
            wait_usage(listener, lambda usage: usage["window_5h_pct"] == 0.25, after=before)
            listener.wait(lambda m: shows("ceiling", 4640)(m) and shows("redline", 1000)(m), after=before)
            log = publisher.log
            publisher.end()

    assert json.loads(once.stdout)["window_5h_pct"] == 0.5
    assert "Home Assistant, in place of 100000000 (default)" in config.stdout
    assert "ceiling_5h was changed to 4640 since Home Assistant set 2320" in log


def test_kept_order_is_not_replayed(home: Mosquitto, env: dict[str, str], tmp_path: Path) -> None:
    """An order that the broker keeps counts once, if at all: the next start clears it and does not carry it out."""
    with listening(home) as listener:
        order(listener, "redline", 1000, retain=True)
        with Publishing(tmp_path / "log", env=env):
            listener.wait(lambda m: m.topic.endswith("set/redline") and not m.payload)
            wait_usage(listener, lambda usage: usage["window_5h_tokens"] == SAMPLE and not usage["hot"])
    assert not [topic for topic in retained(home) if "/set/" in topic]


@pytest.mark.parametrize("name", STRANGERS)
def test_others_may_not(home: Mosquitto, env: dict[str, str], tmp_path: Path, name: str) -> None:
    """The ACL lets Home Assistant alone set another node's numbers, and the settings topic is the publisher's."""
    with listening(home) as listener, listening(home, name) as stranger, Publishing(tmp_path / "log", env=env):
        wait_usage(listener, lambda usage: usage["window_5h_tokens"] == SAMPLE)
        for topic in ("ceiling", "redline"):
            order(stranger, topic, 1)
        for other in (listener, stranger):
            info = other.client.publish("claude-gauge/desk/settings", b'{"ceiling": 1, "redline": 1}', 1)
            info.wait_for_publish(PATIENCE_S)
        obeyed(listener, "ceiling", 2320)
        usage = wait_usage(listener, lambda usage: usage["window_5h_pct"] > 0.001)

        assert (usage["window_5h_pct"], usage["hot"]) == (0.5, False)
        assert {json.loads(m.payload)["redline"] for m in listener.messages if m.topic.endswith("/settings")} == {1e6}


def test_broker_that_does_not_let_us_read_orders(claude: ClaudeHome, tmp_path: Path, env: dict[str, str]) -> None:
    """Where the broker refuses the orders' topics, usage goes on as ever."""
    own = ["topic write claude-gauge/desk/#", "topic read claude-gauge/desk/+", "topic write homeassistant/#"]
    rules = "\n".join(["user desk", *own, "user viewer", "topic read #", ""])
    with closed(tmp_path / "other", USERS, rules=rules) as broker, listening(broker, "viewer") as listener:
        env["CLAUDE_GAUGE_BROKER"] = broker.url.replace("//", "//desk@")
        with Publishing(tmp_path / "log", env=env) as publisher:
            wait_usage(listener, lambda usage: usage["window_5h_tokens"] == SAMPLE)
            claude.append(assistant(time.time(), 2))
            wait_usage(listener, lambda usage: usage["window_5h_tokens"] == 2320)

            assert "WARNING" not in publisher.log


def test_nothing_is_left(home: Mosquitto, env: dict[str, str], tmp_path: Path) -> None:
    """`discovery remove` clears the settings topic, and orders that somebody had the broker keep."""
    with listening(home) as listener:
        with Publishing(tmp_path / "log", env=env) as publisher:
            listener.wait(shows("redline", 1_000_000))
            publisher.end()
        order(listener, "ceiling", 5, retain=True)
        done = run("discovery", "remove", env=env)

    assert done.returncode == 0, done.stderr
    assert retained(home) == []


def test_once_leaves_nothing_more(home: Mosquitto, env: dict[str, str]) -> None:
    """`publish --once` retains its payload alone."""
    done = run("publish", "--once", env=env)

    assert done.returncode == 0, done.stderr
    assert retained(home) == ["claude-gauge/desk/usage"]


def test_rest_is_no_order() -> None:
    """The payload itself has no field of these numbers: its size is bounded for small readers."""
    assert not {"ceiling", "redline", *SETTINGS} & set(json.loads(at_rest().to_json()))


def test_demo_leaves_nothing(env: dict[str, str], tmp_path: Path) -> None:
    """A demo at a broker with users, in Home Assistant, has the numbers while it runs and leaves no topic behind."""
    rules = [User(name="demo", role=Role.PUBLISHER), User(name="homeassistant", role=Role.HOMEASSISTANT)]
    with closed(tmp_path / "other", rules) as broker, listening(broker) as listener:
        url = broker.url.replace("//", "//demo@")
        done = run("demo", "--broker", url, "--discovery", "homeassistant", "--seconds", "3", "--http", "off", env=env)
        offered = [m for m in listener.messages if m.topic == "claude-gauge/demo/settings" and m.payload]

        assert done.returncode == 0, done.stderr
        assert offered
        assert retained(broker) == []


def test_orders_after_a_broker_restart(home: Mosquitto, env: dict[str, str], tmp_path: Path) -> None:
    """A broker that lost everything shows what holds again, and takes orders."""
    with Publishing(tmp_path / "log", env=env):
        with listening(home) as listener:
            listener.wait(shows("redline", 1_000_000))
            obeyed(listener, "redline", 1000)
        home.kill()
        home.start()
        with listening(home) as listener:
            listener.wait(shows("redline", 1000))
            obeyed(listener, "ceiling", 2320)
            wait_usage(listener, lambda usage: usage["window_5h_pct"] == 0.5)
