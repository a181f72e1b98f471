"""Home Assistant's discovery of a node: one device, with an entity per field of the contract.

Names, units and types are asked of `Usage`'s own schema, so that the two cannot drift. Home Assistant
rejects the whole device for one unknown key at the top, and puts the device's name before each entity's.

Values are read out of the payload by Jinja templates. Each answers `None`, which Home Assistant shows as unknown, where
the field is null or absent: a template that fails would write an error into its log at every message.

Home Assistant stores every state, and a payload may come ten times a second. So figures are rounded, and one that
moved only a little is taken over after HOLD_S; a real move, a zero and unknown count at once. Lamps and words are
not held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from claude_gauge import HOMEPAGE, __version__
from claude_gauge.contract import usage
from claude_gauge.contract.usage import (
    ALERT_EVENT,
    FLEET_NODE,
    MAX_COUNT,
    ORDERS,
    alert_topic,
    order_topic,
    settings_topic,
    status_topic,
    usage_topic,
)
from claude_gauge.outlets.homeassistant.numbers import LEAST, Offer

Schema = Mapping[str, Any]
Entity = dict[str, Any]

SELF = frozenset({"node", "schema_version"})  # these describe the device itself
FLEET_ONLY = frozenset({"hot_node"})
DIAGNOSTICS = frozenset({"account", "fuel_source", "sources", "updated_at"})
OFF_AT_FIRST = frozenset({"account", "updated_at"})  # a person switches them on; one would be stored every second
PROBLEMS = frozenset({"limit_before_reset", "sources", "stall", "warn"})
ICONS = {
    "rate_1m": "mdi:speedometer",
    "window_5h_tokens": "mdi:counter",
    "window_5h_pct": "mdi:fuel",
    "thinking_ratio": "mdi:thermometer",
    "cache_hit_rate": "mdi:car-turbocharger",
    "last_model": "mdi:robot-outline",
    "hot": "mdi:fire",
    "idle": "mdi:sleep",
    "window_7d_pct": "mdi:calendar-week",
    "window_7d_tokens": "mdi:counter",
    "tokens_total": "mdi:sigma",
    "minutes_to_limit": "mdi:timer-sand",
    "waiting": "mdi:account-clock",
    "fuel_source": "mdi:source-branch",
    "account": "mdi:account",
    "hot_node": "mdi:server-network",
    "limit_name": "mdi:speedometer-slow",
    "limit_pct": "mdi:gauge-full",
    "ceiling": "mdi:arrow-collapse-up",
    "redline": "mdi:car-speed-limiter",
}
LIMITS = frozenset({"window_5h_pct", "window_7d_pct", "limit_pct"})  # shown to a decimal: they move slowly

DEMO = "Demo, made up"
HOLD_S = 30
JUMP = 0.25  # a figure that moved by more than this part of itself is taken over at once
LIMIT_POINTS, OTHER_POINTS = 1, 5  # of a percentage: that many points

# Rounded as `value` -> `new`.
THREE_DIGITS = (
    "{% set step = 10 ** [(value + 1) | log(10) | int - 2, 0] | max %}"
    "{% set new = (value / step) | round | int * step %}"
)
THOUSANDS = "{% set new = ((value / 1000) | round * 1000) | int if value >= 1000 else value | int %}"
KILO = "{% set new = (value / 1000) | round if value >= 10000 else (value / 1000) | round(1) %}"
WHOLE = "{% set new = [value | round | int, 1] | max %}"
PERCENT = "{% set new = (value * 100) | round(1) %}"

TEXT = "{{ value or none }}"
# Whole seconds: at ten payloads a second Home Assistant need not store a new state for each.
SECONDS = "{{ value[:19] ~ '+00:00' if value else none }}"
# A problem sensor: on when a source of a part can't be read, unknown without parts. The thinking is left out: telemetry
# alone never has it, which nobody can correct, and where its source can't be read the tach's part says so.
HEALTH = (
    "{% set read = parts.items() | rejectattr(0, 'eq', 'thinking') | map(attribute=1) %}"
    "{{ 'None' if not parts else 'ON' if read | rejectattr('ok') | list else 'OFF' }}"
)


def discovery_topic(prefix: str, node: str) -> str:
    """Topic of a node's retained device discovery."""
    return f"{prefix}/device/{_device_id(node)}/config"


def is_of_demo(topic: str, payload: bytes) -> str:
    """Return the node of a discovery payload that a demo made, "" for any other."""
    try:
        device = json.loads(payload)["device"]
        node = str(device["identifiers"][0]).removeprefix(_device_id(""))
        made_up = device["model"] == DEMO
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return node if made_up and topic.endswith(f"/device/{_device_id(node)}/config") else ""


def discovery(
    node: str, *, fleet: bool = False, page: str | None = None, numbers: Offer = "none", made_up: bool = False
) -> bytes:
    """Return a node's discovery payload; the device's model says where a demo made its figures up.

    With `fleet`, its device hangs below that of all nodes merged. `page` is the URL of the node's own web page, where
    others can reach it. `numbers` that Home Assistant may set are offered, or taken away where they were offered once.
    """
    merged = node == FLEET_NODE
    parts = {**entities(node), "rate_k": _thousands(node)}
    if not merged:
        parts["alert"] = _alert(node)
    if numbers != "none":
        parts |= {name: _number(node, name) if numbers == "offered" else {"platform": "number"} for name in ORDERS}
    device: Entity = {
        "identifiers": [_device_id(node)],
        "name": "Claude Code fleet" if merged else f"Claude Code {node}",
        "manufacturer": "claude-gauge",
        "model": DEMO if made_up else "Fleet" if merged else "Node",
        "sw_version": __version__,
    }
    if page:
        device["configuration_url"] = page
    if fleet and not merged:
        device["via_device"] = _device_id(FLEET_NODE)
    return json.dumps(
        {
            "device": device,
            "origin": {"name": "claude-gauge", "sw_version": __version__, "support_url": HOMEPAGE},
            "state_topic": usage_topic(node),
            "availability_topic": status_topic(node),
            "qos": 1,
            "components": parts,
        }
    ).encode()


def entities(node: str) -> dict[str, Entity]:
    """Return an entity per field of the contract, by the field's name."""
    fields: dict[str, Schema] = usage.schema()["properties"]
    hidden = SELF if node == FLEET_NODE else SELF | FLEET_ONLY
    return {name: _entity(node, name, flat(field)) for name, field in fields.items() if name not in hidden}


def flat(field: Schema) -> Schema:
    """Take the `or null` off a field's schema: every entity can be unknown."""
    value: Schema = next((each for each in field.get("anyOf", ()) if each.get("type") != "null"), {})
    return {**field, **value}


def _thousands(node: str) -> Entity:
    """Show the rate in thousands, too: a gauge card has no room for seven digits, least of all on a phone."""
    rate = entities(node)["rate_1m"]
    field = {"type": "number", "unit": "k/min"}
    return {
        **rate,
        "unique_id": f"{_device_id(node)}_rate_k",
        "default_entity_id": f"sensor.{_slug(_device_id(node))}_rate_k",
        "name": "Token rate in thousands",
        "unit_of_measurement": field["unit"],
        "value_template": value_template("rate_1m", field),
    }


def _alert(node: str) -> Entity:
    """Show the alerts as an event entity: they are no field of the payload, for they happen once."""
    return {
        "platform": "event",
        "unique_id": f"{_device_id(node)}_alert",
        "default_entity_id": f"event.{_slug(_device_id(node))}_alert",
        "name": "Alert",
        "icon": "mdi:bell-alert",
        "state_topic": alert_topic(node),
        "event_types": [ALERT_EVENT],
    }


def _number(node: str, name: str) -> Entity:
    """Let a person set a number of the node; what holds is read from its settings topic.

    It has no unit: beside one, Home Assistant's field covers the entity's name on a phone.
    """
    return {
        "platform": "number",
        "unique_id": f"{_device_id(node)}_{name}",
        "default_entity_id": f"number.{_slug(_device_id(node))}_{name}",
        "name": name.capitalize(),
        "icon": ICONS[name],
        "command_topic": order_topic(node, name),
        "state_topic": settings_topic(node),
        "value_template": f"{{% set value = value_json.get('{name}') if value_json is mapping %}}"
        f"{{{{ value if value is number and value >= {LEAST} else none }}}}",
        "min": LEAST,
        "max": MAX_COUNT,
        "step": 1,
        "mode": "box",
        "entity_category": "config",
    }


def _entity(node: str, name: str, field: Schema) -> Entity:
    platform = "binary_sensor" if field["type"] in {"boolean", "object"} else "sensor"
    entity: Entity = {
        "platform": platform,
        "unique_id": f"{_device_id(node)}_{name}",
        "default_entity_id": f"{platform}.{_slug(_device_id(node))}_{name}",
        "name": field["title"],
        "value_template": value_template(name, field),
    }
    if platform == "sensor":
        entity |= _measure(name, field)
    elif name in PROBLEMS:
        entity["device_class"] = "problem"
    if field["type"] == "object":
        entity["json_attributes_topic"] = usage_topic(node)
        entity["json_attributes_template"] = f"{{{{ (value_json.get('{name}') or {{}}) | tojson }}}}"
    if name in DIAGNOSTICS:
        entity["entity_category"] = "diagnostic"
    if name in OFF_AT_FIRST:
        entity["enabled_by_default"] = False
    if name in ICONS:
        entity["icon"] = ICONS[name]
    return entity


def _measure(name: str, field: Schema) -> Entity:
    if field.get("format") == "date-time":
        return {"device_class": "timestamp"}
    if field["type"] == "string":
        return {}
    grows = name == "tokens_total"
    measure = {
        "state_class": "total_increasing" if grows else "measurement",
        "suggested_display_precision": int(name in LIMITS),
    }
    if shown := _unit(field):
        measure["unit_of_measurement"] = shown
    return {**measure, "device_class": "duration"} if shown == "min" else measure


def _device_id(node: str) -> str:
    return f"claude_gauge_{node}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")


def value_template(name: str, field: Mapping[str, Any]) -> str:
    """Return the template that turns a field, by its type in the schema, into the entity's state."""
    value = f"value_json.get('{name}')"  # an attribute that is absent would be a warning in the log
    if field["type"] == "boolean":
        return f"{{{{ {{true: 'ON', false: 'OFF'}}.get({value}, 'None') }}}}"
    if field["type"] == "object":
        return f"{{% set parts = {value} or {{}} %}}{HEALTH}"
    given = f"{{% set value = {value} %}}{_doubted(name)}"
    if field.get("format") == "date-time":
        return given + SECONDS
    if field["type"] == "string":
        return given + TEXT
    return (
        f"{given}{{% if value is number %}}{_rounded(field)}{_held(name, field)}{{% else %}}{{{{ none }}}}{{% endif %}}"
    )


def _doubted(name: str) -> str:
    """Take back a figure that is not known, as `Usage.figure` does."""
    if name not in usage.PART_OF:
        return ""
    part = f"((value_json.get('sources') or {{}}).get('{usage.PART_OF[name]}') or {{}})"
    unkept = "" if name == "thinking_ratio" else " and value_json.get('stall') and not value"
    without_source = " and not value_json.get('fuel_source')" if name == "window_5h_pct" else ""
    return f"{{% if {part}.get('ok') is false{unkept}{without_source} %}}{{% set value = none %}}{{% endif %}}"


def _unit(field: Mapping[str, Any]) -> str | None:
    """Return the unit in which Home Assistant shows a figure."""
    return "%" if field.get("maximum") == 1 else field.get("unit")


def _rounded(field: Mapping[str, Any]) -> str:
    return {"%": PERCENT, "tokens": THOUSANDS, "min": WHOLE, "k/min": KILO}.get(_unit(field) or "", THREE_DIGITS)


def _held(name: str, field: Mapping[str, Any]) -> str:
    """Answer the state that is shown already, while the new one is young and near it.

    The state is in the unit that the person chose: where that is not ours, it is no figure to give back.
    """
    points = LIMIT_POINTS if name in LIMITS else OTHER_POINTS
    far = f"{points}" if _unit(field) == "%" else f"old * {JUMP}"
    return (
        "{% set old = this.state | float(0) %}"
        f"{{{{ this.state if old > 0 and new > 0 and this.attributes.get('unit_of_measurement') == '{_unit(field)}'"
        f" and (now() - this.last_changed).total_seconds() < {HOLD_S} and (new - old) | abs < {far} else new }}}}"
    )
