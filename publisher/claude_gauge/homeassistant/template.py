"""How Home Assistant reads a field's state out of the payload, as Jinja templates.

Each one answers `None`, which Home Assistant shows as unknown, where the field is null or absent:
a template that fails would write an error into its log at every message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def template(name: str, field: Mapping[str, Any]) -> str:
    """Return the template that turns a field, by its type in the schema, into the entity's state."""
    value = f"value_json.{name}"
    if field["type"] == "boolean":
        return f"{{{{ {{true: 'ON', false: 'OFF'}}.get({value}, 'None') }}}}"
    if field["type"] == "object":
        return _health(value)
    if field["type"] == "string":
        return _seconds(value) if field.get("format") == "date-time" else f"{{{{ {value} or none }}}}"
    share = field["type"] == "number" and field.get("maximum") == 1
    figure = f"({value} * 100) | round(2)" if share else value
    return f"{{{{ {figure} if {value} is number else none }}}}"


def _health(value: str) -> str:
    """Unhealthy when one of the parts is: a problem sensor is ON then, and unknown without parts."""
    unwell = f"{value}.values() | rejectattr('ok') | list"
    return f"{{{{ 'None' if not {value} else 'ON' if {unwell} else 'OFF' }}}}"


def _seconds(value: str) -> str:
    """Whole seconds: at ten payloads a second Home Assistant need not store a new state for each."""
    return f"{{{{ {value}[:19] ~ '+00:00' if {value} else none }}}}"
