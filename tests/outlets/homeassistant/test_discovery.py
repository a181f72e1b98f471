from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest

from claude_gauge.contract.usage import Usage
from claude_gauge.outlets.homeassistant.announcer import page_url
from claude_gauge.outlets.homeassistant.discovery import SELF, discovery, discovery_topic, entities, flat

FIELDS = Usage.model_json_schema(mode="serialization")["properties"]


def test_every_field_of_the_contract_is_an_entity() -> None:
    """A field that is added to the contract appears in Home Assistant by itself."""
    components = entities("all")

    assert set(components) == set(Usage.model_fields) - SELF


def test_a_node_has_no_hot_node() -> None:
    """Which node is hot is reported by the fleet alone."""
    components = entities("studio")

    assert "hot_node" not in components


@pytest.mark.parametrize("name", entities("all"))
def test_names_as_a_person_writes_them(name: str) -> None:
    """An entity is named by the contract's title, without the device's name and without a field's underscores."""
    entity = entities("all")[name]

    assert "title" in FIELDS[name]
    assert entity["name"] == Usage.model_fields[name].title
    assert not re.search(r"claude|gauge|_", entity["name"], re.IGNORECASE)


@pytest.mark.parametrize(("name", "entity"), entities("My-Host-x").items())
def test_ids(name: str, entity: dict[str, Any]) -> None:
    """The default id carries its domain and is one that Home Assistant takes as it is; the unique id keeps the case."""
    assert entity["default_entity_id"] == f"{entity['platform']}.claude_gauge_my_host_x_{name}"
    assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", entity["default_entity_id"])
    assert entity["unique_id"] == f"claude_gauge_My-Host-x_{name}"


def test_nodes_that_differ_in_case_only() -> None:
    """Two nodes never share a unique id or a topic, however alike their names are."""
    nodes = ["a-b", "a_b", "A-B"]
    ids = {entities(node)["hot"]["unique_id"] for node in nodes}
    topics = {discovery_topic("homeassistant", node) for node in nodes}

    assert len(ids) == len(topics) == 3


def test_units_follow_from_the_types() -> None:
    """Ratios are percent, tokens are tokens, minutes a duration, and a figure always has a state class."""
    components = entities("all")
    units = {
        name: entity["unit_of_measurement"] for name, entity in components.items() if "unit_of_measurement" in entity
    }

    assert units == {
        "rate_1m": "tokens/min",
        "window_5h_tokens": "tokens",
        "window_5h_pct": "%",
        "thinking_ratio": "%",
        "cache_hit_rate": "%",
        "window_7d_pct": "%",
        "window_7d_tokens": "tokens",
        "tokens_total": "tokens",
        "minutes_to_limit": "min",
        "limit_pct": "%",
    }
    assert {name for name, entity in components.items() if "state_class" in entity} == set(units)


def test_diagnostics_apart() -> None:
    """What describes the reading itself is diagnostic; nothing that a person looks at is."""
    components = {name for name, entity in entities("all").items() if entity.get("entity_category") == "diagnostic"}

    assert components == {"account", "fuel_source", "sources", "updated_at"}


def test_lamps_are_binary_sensors() -> None:
    """Every bool is a binary sensor, and nothing else is, but the health of the sources."""
    components = {name for name, entity in entities("all").items() if entity["platform"] == "binary_sensor"}
    bools = {name for name, field in FIELDS.items() if flat(field).get("type") == "boolean"}

    assert components == bools | {"sources"}


def test_only_keys_that_home_assistant_allows_at_the_top() -> None:
    """One unknown key at the top or in the device would have the whole device rejected."""
    payload = json.loads(discovery("studio", fleet=True, page="http://desk:8080/"))

    assert set(payload) == {"device", "origin", "state_topic", "availability_topic", "qos", "components"}
    assert set(payload["device"]) == {
        "identifiers", "name", "manufacturer", "model", "sw_version", "via_device", "configuration_url",
    }  # fmt: skip
    assert payload["origin"]["name"] == "claude-gauge"


def test_the_fleet_hangs_below_nothing() -> None:
    """Only a node's device has the fleet's above it, and only where there is a fleet."""
    fleet, alone = (json.loads(discovery(node))["device"] for node in ("all", "studio"))
    below = json.loads(discovery("studio", fleet=True))["device"]

    assert "via_device" not in fleet
    assert discovery("all", fleet=True) == discovery("all")
    assert "via_device" not in alone
    assert below["via_device"] == fleet["identifiers"][0]


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("off", None),
        ("127.0.0.1:8080", None),
        ("localhost:8080", None),
        ("[::1]:8080", None),
        ("192.168.1.5:8080", "http://192.168.1.5:8080/"),
        ("[fd00::5]:80", "http://[fd00::5]:80/"),
        ("desk.lan:8080", "http://desk.lan:8080/"),
        ("0.0.0.0:8080", f"http://{socket.gethostname()}:8080/"),
    ],
)
def test_link_to_the_page(address: str, url: str | None) -> None:
    """The device links to the node's page where another machine can reach it, and only there."""
    assert page_url(address) == url


def test_quiet_at_first() -> None:
    """What changes every second, or is set by nobody, waits to be switched on."""
    components = {name for name, entity in entities("x").items() if entity.get("enabled_by_default") is False}

    assert components == {"account", "updated_at"}
