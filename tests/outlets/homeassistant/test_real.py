"""Discovery against a real Home Assistant and a real Mosquitto."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.firmware.golden import PAYLOADS
from tests.outlets.homeassistant.conftest import BUSY, REST, Node, node
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, wait_until
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.contract.usage import PART_OF, Part, Usage, alert_topic, status_topic
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.alerts.decide import Alert
from claude_gauge.outlets.alerts.outlet import to_json
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant
from claude_gauge.outlets.homeassistant.discovery import OFF_AT_FIRST, discovery, discovery_topic

pytestmark = pytest.mark.xdist_group("homeassistant-real")  # what they share is slow to begin


def test_states_names_and_units(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """Every entity appears under its name, with the state and unit that a person expects."""
    with node(closed_broker, "Studio-1") as studio:
        studio.say(BUSY)
        home.wait_state(studio.entity("sensor", "rate_1m"), "1230")
        states = home.states("studio_1")

    shown = {
        each.attributes["friendly_name"]: f"{each.state} {each.attributes.get('unit_of_measurement', '')}".strip()
        for each in states.values()
    }
    assert shown.pop("Claude Code Studio-1 Alert") == "unknown"
    assert shown == {
        "Claude Code Studio-1 Token rate": "1230 tokens/min",
        "Claude Code Studio-1 Token rate in thousands": "1.2 k/min",
        "Claude Code Studio-1 5-hour tokens": "12346000 tokens",
        "Claude Code Studio-1 5-hour window used": "63.5 %",
        "Claude Code Studio-1 5-hour window resets": "2026-11-23T17:00:00+00:00",
        "Claude Code Studio-1 Thinking share": "25.0 %",
        "Claude Code Studio-1 Cache hit rate": "90.0 %",
        "Claude Code Studio-1 Last model": "opus",
        "Claude Code Studio-1 Hot": "on",
        "Claude Code Studio-1 Warning": "off",
        "Claude Code Studio-1 Stalled": "off",
        "Claude Code Studio-1 Idle": "off",
        "Claude Code Studio-1 7-day window used": "20.0 %",
        "Claude Code Studio-1 7-day window resets": "2026-11-27T09:00:00+00:00",
        "Claude Code Studio-1 7-day tokens": "99000000 tokens",
        "Claude Code Studio-1 Tokens so far": "5000000000 tokens",
        "Claude Code Studio-1 Time to limit": "42 min",
        "Claude Code Studio-1 Limit before reset": "on",
        "Claude Code Studio-1 Fullest limit": "seven_day_opus",
        "Claude Code Studio-1 Fullest limit used": "90.0 %",
        "Claude Code Studio-1 Waiting for you": "on",
        "Claude Code Studio-1 Fuel source": "plan",
        "Claude Code Studio-1 Sources": "on",
    }
    assert states[studio.entity("binary_sensor", "sources")].attributes["plan"]["why"] == "stale"


def test_thinking_that_telemetry_never_has_is_no_problem(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """The sources are well where only the thinking can't be known, and unwell where another part can't be read."""
    thinking = Part(source="otlp", ok=False, why="no thinking in telemetry")
    with node(closed_broker, "wired") as wired:
        for ok, state in ((True, "off"), (False, "on"), (True, "off")):
            wired.say(BUSY.model_copy(update={"sources": {"tach": Part(source="otlp", ok=ok), "thinking": thinking}}))
            home.wait_state(wired.entity("binary_sensor", "sources"), state)


def test_unknown_is_not_zero(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """What the payload leaves null is unknown, and a figure of 0 is 0."""
    with node(closed_broker, "resting") as resting:
        resting.say(BUSY)
        home.wait_state(resting.entity("sensor", "rate_1m"), "1230")
        resting.say(REST)
        home.wait_state(resting.entity("sensor", "rate_1m"), "0")
        states = {name.partition("resting_")[2]: each.state for name, each in home.states("resting").items()}

    unknown = {name for name, state in states.items() if state == "unknown"} - {"alert"}
    assert unknown == {
        "last_model",
        "window_5h_resets_at",
        "window_7d_pct",
        "window_7d_resets_at",
        "window_7d_tokens",
        "tokens_total",
        "minutes_to_limit",
        "limit_before_reset",
        "waiting",
        "fuel_source",
        "limit_name",
        "limit_pct",
        "sources",
    }
    assert (states["window_5h_pct"], states["cache_hit_rate"], states["idle"]) == ("0.0", "0.0", "on")


@pytest.mark.parametrize("name", ["nothing-known", "thinking-unknown", "kept"])
def test_figures_that_no_source_reports(home: RunningHomeAssistant, closed_broker: Mosquitto, name: str) -> None:
    """A figure that can't be null, but that no source reports, is unknown, too: by the same rule as in every reader."""
    payload = PAYLOADS[name]
    with node(closed_broker, name) as resting:
        resting.say(BUSY)
        home.wait_state(resting.entity("sensor", "rate_1m"), "1230")
        resting.say(payload)
        home.wait_state(resting.entity("binary_sensor", "hot"), "off")
        states = {field: home.state(resting.entity("sensor", field)) for field in PART_OF}

    assert {field for field, state in states.items() if state == "unknown"} == {
        field for field in PART_OF if payload.figure(field) is None
    }


def test_small_moves_are_held(
    home: RunningHomeAssistant, closed_broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure that moved a little is taken over after a while; a real move, zero and unknown are taken at once."""
    monkeypatch.setattr("claude_gauge.outlets.homeassistant.discovery.HOLD_S", 4)
    with node(closed_broker, "steady") as steady:
        rate = steady.entity("sensor", "rate_1m")
        seen = []
        for figure in (100_000, 110_000, 300_000, 310_000, 0, 5_000):
            steady.say(BUSY.model_copy(update={"rate_1m": float(figure), "window_7d_pct": figure / 1e6}))
            expected = {110_000: "100000", 310_000: "300000"}.get(figure, str(figure))
            if expected == str(figure):
                home.wait_state(rate, expected)
            home.wait_state(steady.entity("sensor", "window_7d_pct"), f"{figure / 1e4}")
            seen.append((home.state(rate), expected))
        steady.say(BUSY.model_copy(update={"rate_1m": 5_100.0}))

        def later() -> bool:
            steady.say(BUSY.model_copy(update={"rate_1m": 5_100.0}))
            return home.state(rate) == "5100"

        wait_until(later, "the small move to be taken over")

    assert all(states == wanted for states, wanted in seen), seen


def test_an_hour_of_work_leaves_few_rows(
    home: RunningHomeAssistant, closed_broker: Mosquitto, record_property: Callable[[str, object], None]
) -> None:
    """Ten payloads a second, each with other figures, are stored as a few rows a minute."""
    chance = random.Random(17)
    with node(closed_broker, "stored-rows") as busy:
        rows = [_stored(home, busy, _working(0, chance), hot=hot) for hot in (True, False)]
        begun = time.monotonic()
        for number in range(350):
            busy.say(_working(number, chance))
            time.sleep(0.1)  # the pace of a busy publisher is what is measured
        minutes = (time.monotonic() - begun) / 60
        rows.append(_stored(home, busy, _working(350, chance), hot=False))
    hourly = (rows[2] - rows[1]) / minutes * 60
    record_property("figure", f"Home Assistant: {hourly:,.0f} recorder rows in a busy hour (extrapolated)")

    assert hourly < 2_000


def _stored(home: RunningHomeAssistant, busy: Node, usage: Usage, *, hot: bool) -> int:
    """Publish a payload whose `hot` is new, wait until it is stored, and count the node's rows."""
    before = home.rows("stored_rows_hot")
    busy.say(usage.model_copy(update={"hot": hot}))
    wait_until(lambda: home.rows("stored_rows_hot") > before, "the recorder to store a payload")
    return home.rows("stored_rows")


def _working(number: int, chance: random.Random) -> Usage:
    """A payload while four clients work: every figure differs from the one before."""
    return BUSY.model_copy(
        update={
            "rate_1m": 800_000 * chance.uniform(0.9, 1.1),
            "window_5h_tokens": 12_345_678 + number * 13_000,
            "window_5h_pct": 0.635 + number / 100_000,
            "window_7d_tokens": 99_000_000 + number * 13_000,
            "window_7d_pct": 0.2 + number / 1_000_000,
            "thinking_ratio": chance.uniform(0.23, 0.27),
            "cache_hit_rate": chance.uniform(0.88, 0.92),
            "minutes_to_limit": chance.uniform(38, 47),
        }
    )


def test_payload_of_an_older_publisher(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """The seed's eleven fields alone are enough: the others are unknown, without a word in the log."""
    with node(closed_broker, "older") as older:
        seed = {name: value for name, value in json.loads(BUSY.to_json()).items() if value is not None}
        for name in ("sources", "waiting", "window_7d_pct", "minutes_to_limit", "account", "window_5h_resets_at"):
            del seed[name]
        older.link.announce("claude-gauge/older/usage", json.dumps(seed).encode())
        home.wait_state(older.entity("sensor", "rate_1m"), "1230")

        states = {field: home.state(older.entity("sensor", field)) for field in ("minutes_to_limit", "window_7d_pct")}
        assert states == {"minutes_to_limit": "unknown", "window_7d_pct": "unknown"}


def test_alert(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """An alert is an event of the node's device, with its figures."""
    with node(closed_broker, "alerted") as alerted:
        alerted.say(BUSY)
        home.wait_state(alerted.entity("event", "alert"), "unknown")
        alerted.link.send(alert_topic("alerted"), to_json(Alert(0.8, BUSY, 1_795_000_000)), qos=1)
        wait_until(lambda: "T" in home.state(alerted.entity("event", "alert")), "the alert's time")
        (states,) = (each for name, each in home.states("alerted").items() if name.startswith("event."))

    assert (states.attributes["event_type"], states.attributes["threshold"]) == ("threshold", 0.8)


def test_publisher_ends(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """A publisher that ends in good order leaves unavailable entities, and comes back as the same ones."""
    with node(closed_broker, "comes-back") as first:
        first.say(BUSY)
        home.wait_state(first.entity("binary_sensor", "hot"), "on")
    home.wait_state(first.entity("binary_sensor", "hot"), "unavailable")

    with node(closed_broker, "comes-back") as second:
        second.say(REST)
        home.wait_state(second.entity("binary_sensor", "hot"), "off")

        assert len(home.states("comes_back")) == len(json.loads(discovery("comes-back"))["components"]) - len(
            OFF_AT_FIRST
        )


def test_publisher_killed(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """The last will makes a killed publisher's entities unavailable."""
    script = (
        "import sys, time; from types import SimpleNamespace\n"
        "from tests.outlets.homeassistant.conftest import BUSY, Node\n"
        "node = Node(SimpleNamespace(url=sys.argv[1]), 'killed'); node.say(BUSY); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", script, closed_broker.url], cwd=os.curdir) as publisher:
        try:
            home.wait_state("binary_sensor.claude_gauge_killed_hot", "on")
        finally:
            publisher.send_signal(signal.SIGKILL)

    home.wait_state("binary_sensor.claude_gauge_killed_hot", "unavailable")


def test_fleet_above_the_nodes(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """A node hangs below the fleet's device as soon as there is a fleet, and not before."""
    above = "{{ device_attr(device_attr('sensor.claude_gauge_below_rate_1m', 'via_device_id') or 'none', 'name') }}"
    with node(closed_broker, "below") as below:
        below.say(BUSY)
        home.wait_state(below.entity("sensor", "rate_1m"), "1230")
        alone = home.render(above)
        with node(closed_broker, "all") as fleet:
            fleet.say(BUSY.model_copy(update={"hot_node": "below"}))
            home.wait_state("sensor.claude_gauge_all_hot_node", "below")
            wait_until(lambda: home.render(above) == "Claude Code fleet", "the node's device below the fleet's")

    assert alone == "None"


def test_removed_by_hand(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """`discovery remove` takes the device away; a second time it says that there is nothing to remove."""
    command = [sys.executable, "-m", "claude_gauge", "discovery", "remove", "--node", "unwanted"]
    command += ["--broker", closed_broker.url]
    with node(closed_broker, "unwanted") as unwanted:
        unwanted.say(BUSY)
        home.wait_state(unwanted.entity("sensor", "rate_1m"), "1230")
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    wait_until(lambda: not home.states("unwanted"), "its entities to be gone")

    assert "removed unwanted" in said[0]
    assert "nothing to remove" in said[1]


def test_fleet_removed(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """A fleet that is taken away leaves no nameless device behind: nodes no longer hang below it."""
    command = [sys.executable, "-m", "claude_gauge", "discovery", "remove", "--fleet", "--broker", closed_broker.url]
    topic = discovery_topic("homeassistant", "orphan")
    with Listener(closed_broker.port, topic) as listener, node(closed_broker, "orphan") as orphan:
        orphan.say(BUSY)
        with node(closed_broker, "all") as fleet:
            fleet.say(BUSY)
            listener.wait(lambda m: b"via_device" in m.payload)
        received = len(listener.messages)
        subprocess.run(command, capture_output=True, check=True)
        listener.wait(lambda m: b"via_device" not in m.payload, after=received)
        wait_until(lambda: not home.states("claude_gauge_all"), "the fleet's entities to be gone")

        assert home.state(orphan.entity("binary_sensor", "hot")) == "on"


def test_the_real_publisher(home: RunningHomeAssistant, closed_broker: Mosquitto, tmp_path: Path) -> None:
    """`claude-gauge publish` makes the device by itself, and tokens that Claude Code uses show on it."""
    claude = ClaudeHome(tmp_path / "claude")
    env = environment(claude, tmp_path)
    more = ["--broker", closed_broker.url, "--node", "genuine", "--http", "off"]
    with Publishing(tmp_path / "log", *more, env=env):
        home.wait_state("binary_sensor.claude_gauge_genuine_idle", "on")
        claude.append(assistant(time.time(), 1, model="claude-fable-5", tokens=(10, 1224, 0, 0)))

        home.wait_state("sensor.claude_gauge_genuine_last_model", "fable")
        home.wait_state("sensor.claude_gauge_genuine_window_5h_tokens", "1000")
        home.wait_state("binary_sensor.claude_gauge_genuine_idle", "off")


def test_broker_crashes(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """A broker that lost everything gets device, status and payload again, and Home Assistant sees the new state."""
    with node(closed_broker, "patient") as patient:
        patient.say(BUSY)
        home.wait_state(patient.entity("sensor", "rate_1m"), "1230")
        closed_broker.kill()
        home.wait_state(patient.entity("sensor", "rate_1m"), "unavailable")
        patient.say(REST)
        closed_broker.start()

        home.wait_state(patient.entity("sensor", "rate_1m"), "0")


def test_home_assistant_restarts(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """At Home Assistant's birth the device is announced again, and a restart shows the same entities."""
    with node(closed_broker, "loyal") as loyal, Listener(closed_broker.port, "homeassistant/#") as listener:
        loyal.say(BUSY)
        home.wait_state(loyal.entity("sensor", "rate_1m"), "1230")
        before = home.states("loyal")
        received = len(listener.messages)
        home.stop()
        home.start()
        home.wait_state(loyal.entity("sensor", "rate_1m"), "1230")

        topic = discovery_topic("homeassistant", "loyal")
        listener.wait(lambda m: m.topic == "homeassistant/status" and m.payload == b"online", after=received)
        listener.wait(lambda m: m.topic == topic and bool(m.payload), after=received)
        assert set(home.states("loyal")) == set(before)


def test_stored_registry(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """What is about the reading itself is diagnostic; what a person looks at is not; precision is kept."""
    with node(closed_broker, "stored") as stored:
        stored.say(BUSY)
        home.wait_state(stored.entity("sensor", "rate_1m"), "1230")
        home.stop()
        kept = {
            e["unique_id"].partition("stored_")[2]: e for e in home.registry("entity") if "stored" in e["unique_id"]
        }
        device = next(each for each in home.registry("device") if each["name"] == "Claude Code stored")
        home.start()

    diagnostics = {name for name, each in kept.items() if each["entity_category"] == "diagnostic"}
    assert diagnostics == {"account", "fuel_source", "sources", "updated_at"}
    assert kept["window_5h_pct"]["options"]["sensor"]["suggested_display_precision"] == 1
    assert kept["rate_1m"]["options"]["sensor"]["suggested_display_precision"] == 0
    assert (device["manufacturer"], device["model"]) == ("claude-gauge", "Node")


def test_switched_off(closed_broker: Mosquitto) -> None:
    """With `discovery = off` nothing is said under Home Assistant's prefix."""
    settings = Settings(broker=closed_broker.url, node="silent", discovery="off")
    link = Link(settings, status=status_topic("silent"))
    HomeAssistant(link, settings).start()
    link.start()
    try:
        assert link.wait_connected(PATIENCE_S)
        assert link.flush(PATIENCE_S)
        with Listener(closed_broker.port, "+/device/claude_gauge_silent/config") as listener:
            assert listener.messages == []
    finally:
        link.stop()
