"""How Home Assistant reads a field's state out of the payload, as Jinja templates.

Each one answers `None`, which Home Assistant shows as unknown, where the field is null or absent:
a template that fails would write an error into its log at every message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT = "{{ value or none }}"
FIGURE = "{{ value if value is number else none }}"
SHARE = "{{ (value * 100) | round(2) if value is number else none }}"
# Whole seconds: at ten payloads a second Home Assistant need not store a new state for each.
SECONDS = "{{ value[:19] ~ '+00:00' if value else none }}"
# A problem sensor: on when one of the parts is unwell, unknown without parts.
HEALTH = "{{ 'None' if not parts else 'ON' if parts.values() | rejectattr('ok') | list else 'OFF' }}"


def template(name: str, field: Mapping[str, Any]) -> str:
    """Return the template that turns a field, by its type in the schema, into the entity's state."""
    value = f"value_json.get('{name}')"  # an attribute that is absent would be a warning in the log
    if field["type"] == "boolean":
        return f"{{{{ {{true: 'ON', false: 'OFF'}}.get({value}, 'None') }}}}"
    if field["type"] == "object":
        return f"{{% set parts = {value} or {{}} %}}{HEALTH}"
    if field["type"] == "string":
        return f"{{% set value = {value} %}}{SECONDS if field.get('format') == 'date-time' else TEXT}"
    share = field["type"] == "number" and field.get("maximum") == 1
    return f"{{% set value = {value} %}}{SHARE if share else FIGURE}"
