"""How the device itself fares, and how Home Assistant learns of it."""

import json

FIGURES = (  # name, key in the payload, unit, Home Assistant's device class
    ("Free memory", "heap", "B", "data_size"),
    ("Signal", "rssi", "dBm", "signal_strength"),
    ("Uptime", "uptime_s", "s", "duration"),
    ("Worst loop", "worst_loop_ms", "ms", "duration"),
    ("Sessions", "sessions", None, None),
)


def discovery(prefix: str, identity: str, root: str, version: str) -> "tuple[str, bytes]":
    """Return topic and payload of Home Assistant's device discovery."""
    topic = root + "/diagnostics"
    parts = {}
    for name, key, unit, kind in FIGURES:
        part: dict[str, str | None] = {
            "p": "sensor",
            "name": name,
            "uniq_id": f"claude_gauge_{identity}_{key}",
            "stat_t": topic,
        }
        part["val_tpl"] = f"{{{{ value_json.{key} }}}}"
        part["ent_cat"] = "diagnostic"
        if unit:
            part["unit_of_meas"] = unit
            part["dev_cla"] = kind
        parts[key] = part
    device = {"ids": "claude_gauge_device_" + identity, "name": "claude-gauge " + identity, "sw": version}
    payload = {
        "dev": device,
        "o": {"name": "claude-gauge"},
        "avty_t": root + "/status",
        "pl_avail": "online",
        "pl_not_avail": "offline",
        "cmps": parts,
    }
    return f"{prefix}/device/claude_gauge_device_{identity}/config", json.dumps(payload).encode()
