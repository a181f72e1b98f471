"""Home Assistant's discovery of the board: diagnostics, buttons, brightness, and the update."""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIGURES = (  # name, key in the payload, unit, Home Assistant's device class, its state class
    ("Free memory", "heap", "B", "data_size", "measurement"),
    ("Signal", "rssi", "dBm", "signal_strength", "measurement"),
    ("Uptime", "uptime_s", "s", "duration", "total_increasing"),
    ("Worst loop", "worst_loop_ms", "ms", "duration", "measurement"),
    ("Sessions", "sessions", None, None, "total_increasing"),
)
CONTROLS: "dict[str, dict[str, Any]]" = {  # by the last level of their topic below `set`
    "restart": {"p": "button", "name": "Restart", "dev_cla": "restart"},
    "identify": {"p": "button", "name": "Identify", "dev_cla": "identify"},
    "brightness": {"p": "number", "name": "Brightness", "unit_of_meas": "%", "min": 0, "max": 100, "mode": "slider"},
    "night": {"p": "text", "name": "Night hours", "max": 11, "pattern": "([0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})?"},
    "night_brightness": {"p": "number", "name": "Night brightness", "unit_of_meas": "%", "min": 0, "max": 100},
}
UPDATE = {
    "p": "update",
    "name": "Firmware",
    "dev_cla": "firmware",
    "ent_cat": "config",
    "stat_t": "~/firmware",
    "cmd_t": "~/set/update",
    "pl_inst": "install",
}


def discovery(settings: "dict[str, Any]", root: str, version: str, mac: str) -> "tuple[str, bytes]":
    """Return topic and payload of Home Assistant's device discovery."""
    identity = "claude_gauge_device_" + settings["id"]
    parts: dict[str, Any] = {}
    for name, key, unit, kind, state in FIGURES:
        part: dict[str, Any] = {
            "p": "sensor",
            "name": name,
            "stat_t": "~/diagnostics",
            "stat_cla": state,
            "ent_cat": "diagnostic",
        }
        part["val_tpl"] = f"{{{{ value_json.{key} }}}}"
        if unit:
            part["unit_of_meas"] = unit
            part["dev_cla"] = kind
        parts[key] = part
    for key, control in CONTROLS.items():
        part = dict(control, cmd_t="~/set/" + key, ent_cat="config")
        if control["p"] != "button":
            part["stat_t"] = "~/settings"
            part["val_tpl"] = f"{{{{ value_json.{key} }}}}"
        parts[key] = part
    if settings["ota_key"]:
        parts["firmware"] = dict(UPDATE)
    for key, part in parts.items():
        part["uniq_id"] = f"claude_gauge_{settings['id']}_{key}"
        for topic in ("stat_t", "cmd_t"):
            if topic in part:
                part[topic] = root + part[topic][1:]
    device = {
        "ids": identity,
        "name": "claude-gauge " + settings["id"],
        "mf": "claude-gauge",
        "mdl": "Four dials and five lamps on an " + settings["chip"],
        "sw": version,
        "cns": [["mac", mac]],
    }
    device["via_device"] = "claude_gauge_" + settings["node"]
    payload = {
        "dev": device,
        "o": {"name": "claude-gauge"},
        "avty_t": root + "/status",
        "pl_avail": "online",
        "pl_not_avail": "offline",
        "cmps": parts,
    }
    return f"{settings['discovery']}/device/{identity}/config", json.dumps(payload).encode()
