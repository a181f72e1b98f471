"""How Home Assistant reads a field's state out of the payload, as Jinja templates.

Each one answers `None`, which Home Assistant shows as unknown, where the field is null or absent: a template that
fails would write an error into its log at every message.

Home Assistant stores every state, and a payload may come ten times a second. So figures are rounded, and one that
moved only a little is taken over after HOLD_S; a real move, a zero and unknown count at once. Lamps and words are
not held.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOLD_S = 30
JUMP = 0.25  # a figure that moved by more than this part of itself is taken over at once
JUMP_POINTS = {
    "window_5h_pct": 1,
    "window_7d_pct": 1,
    "limit_pct": 1,
}  # percentage points
OTHER_POINTS = 5

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
# A problem sensor: on when one of the parts is unwell, unknown without parts.
HEALTH = "{{ 'None' if not parts else 'ON' if parts.values() | rejectattr('ok') | list else 'OFF' }}"


def template(name: str, field: Mapping[str, Any]) -> str:
    """Return the template that turns a field, by its type in the schema, into the entity's state."""
    value = f"value_json.get('{name}')"  # an attribute that is absent would be a warning in the log
    if field["type"] == "boolean":
        return f"{{{{ {{true: 'ON', false: 'OFF'}}.get({value}, 'None') }}}}"
    if field["type"] == "object":
        return f"{{% set parts = {value} or {{}} %}}{HEALTH}"
    given = f"{{% set value = {value} %}}"
    if field.get("format") == "date-time":
        return given + SECONDS
    if field["type"] == "string":
        return given + TEXT
    return (
        f"{given}{{% if value is number %}}{_rounded(field)}{_held(name, field)}{{% else %}}{{{{ none }}}}{{% endif %}}"
    )


def unit(field: Mapping[str, Any]) -> str | None:
    """Return the unit in which Home Assistant shows a figure."""
    return "%" if field.get("maximum") == 1 else field.get("unit")


def _rounded(field: Mapping[str, Any]) -> str:
    return {"%": PERCENT, "tokens": THOUSANDS, "min": WHOLE, "k/min": KILO}.get(unit(field) or "", THREE_DIGITS)


def _held(name: str, field: Mapping[str, Any]) -> str:
    """Answer the state that is shown already, while the new one is young and near it.

    The state is in the unit that the person chose: where that is not ours, it is no figure to give back.
    """
    points = JUMP_POINTS.get(name, OTHER_POINTS)
    far = f"{points}" if unit(field) == "%" else f"old * {JUMP}"
    return (
        "{% set old = this.state | float(0) %}"
        f"{{{{ this.state if old > 0 and new > 0 and this.attributes.get('unit_of_measurement') == '{unit(field)}'"
        f" and (now() - this.last_changed).total_seconds() < {HOLD_S} and (new - old) | abs < {far} else new }}}}"
    )
