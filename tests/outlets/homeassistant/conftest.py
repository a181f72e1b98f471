"""A real Home Assistant, shared by a file's tests, with a broker of its own; each test has a node of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Mosquitto
from tests.support.payloads import at_rest

from claude_gauge.config import Settings
from claude_gauge.contract.usage import EXPIRY_S, Part, Usage, stamp, status_topic, usage_topic
from claude_gauge.mqtt.link import Link
from claude_gauge.outlets.homeassistant.announcer import HomeAssistant

BUSY = Usage(
    rate_1m=1234.5,
    window_5h_tokens=12_345_678,
    window_5h_pct=0.635,
    thinking_ratio=0.25,
    cache_hit_rate=0.9,
    last_model="opus",
    hot=True,
    warn=False,
    stall=False,
    idle=False,
    updated_at="2026-11-23T14:39:28.123Z",
    window_5h_resets_at="2026-11-23T17:00:00.000Z",
    window_7d_pct=0.2,
    window_7d_resets_at="2026-11-27T09:00:00.000Z",
    window_7d_tokens=99_000_000,
    tokens_total=5_000_000_000,
    minutes_to_limit=42.5,
    limit_before_reset=True,
    waiting=True,
    fuel_source="plan",
    limit_name="seven_day_opus",
    limit_pct=0.9,
    sources={"tach": Part(source="transcripts", ok=True), "plan": Part(source="statusline", ok=False, why="stale")},
    account="work",
)
REST = at_rest()


class Node:
    """A publisher as far as the broker and Home Assistant can tell."""

    def __init__(self, broker: Mosquitto, name: str, password: str | None = None) -> None:
        self.name, self.slug = name, name.lower().replace("-", "_")
        url = broker.url if password is None else broker.url.replace("//", f"//{name}@")
        checked = Settings(broker=url, broker_password=SecretStr(password) if password else None)
        self.settings = checked.model_copy(update={"node": name})  # unchecked: the fleet's name is no node's
        self.link = Link(self.settings, status=status_topic(name))
        HomeAssistant(self.link, self.settings).start()
        self.link.start()

    def say(self, usage: Usage) -> None:
        """Publish a payload, stamped now."""
        fresh = usage.model_copy(update={"updated_at": stamp(time.time()), "node": self.name})
        self.link.announce(usage_topic(self.name), fresh.to_json(), expiry_s=EXPIRY_S)

    def entity(self, platform: str, field: str) -> str:
        """The id that Home Assistant gives a field's entity."""
        return f"{platform}.claude_gauge_{self.slug}_{field}"


@contextmanager
def node(broker: Mosquitto, name: str, password: str | None = None) -> Iterator[Node]:
    """A node that lives as long as the `with`; with a password it logs in under its own name."""
    found = Node(broker, name, password)
    try:
        yield found
    finally:
        found.link.stop()


@pytest.fixture(scope="module")
def broker_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningHomeAssistant, Mosquitto]]:
    """Home Assistant and its broker, connected."""
    folder = tmp_path_factory.mktemp("house")
    with Mosquitto(folder / "broker") as broker, RunningHomeAssistant(folder / "homeassistant") as home:
        home.connect(broker.port)
        yield home, broker


@pytest.fixture
def home(broker_folder: tuple[RunningHomeAssistant, Mosquitto]) -> Iterator[RunningHomeAssistant]:
    """Home Assistant; whatever a test does, nothing about us may appear in its log at WARNING or above."""
    yield broker_folder[0]

    assert broker_folder[0].complaints() == []


@pytest.fixture
def closed_broker(broker_folder: tuple[RunningHomeAssistant, Mosquitto]) -> Mosquitto:
    """The broker that Home Assistant is connected to."""
    return broker_folder[1]
