"""What `config.json` says, laid over the defaults; a wrong value is said once and the default taken."""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULTS = {
    "id": "",  # of this device in its topics; empty: from the chip
    "node": "all",  # whose usage is shown
    "wifi": {"ssid": "", "password": ""},
    "broker": {"host": "", "port": 1883, "user": "", "password": "", "ca": ""},  # ca: a file here, DER; means TLS
    "keepalive_s": 15,
    "discovery": "homeassistant",  # Home Assistant's prefix; empty: off
    "ntp": "pool.ntp.org",  # empty: off
    "utc_offset_min": 0,
    "tach_high": 1_250_000.0,  # tokens per minute at the end of the scale
    "movement": "quad",  # quad, direct, voltmeter, servo
    "needles": {
        # Ten pins that are outputs from the start on every ESP32 module, WROVER too.
        "fuel": {"pins": [18, 23]},
        "tach": {"pins": [19, 25]},
        "temperature": {"pins": [21, 26]},
        "boost": {"pins": [22, 27]},
    },
    "reset_pin": 32,  # of the quad driver; -1: tied to 3.3 V
    "lamps": {"kind": "ws2812", "pins": [33], "brightness": 0.5, "night": []},  # night: ["22:00", "07:00", 0.1]
    "sweep": True,  # show the whole scale at power-on, as a car does
    "watchdog_ms": 30_000,  # longer than the look-up of a name may block; 0: off
    "ota_key": "",  # updates over the air need one
    "prove_s": 60,  # an update that was connected and alive for so long is trusted
    "portal": {"http": 80, "dns": 53},
}


def load(path: str) -> "dict[str, Any] | None":
    """Return the settings, or None where there is no readable file."""
    try:
        with open(path) as file:
            given = json.load(file)
    except (OSError, ValueError) as error:
        print("settings:", path, repr(error))
        return None
    return merge(given)


def merge(given: "dict[str, Any]") -> "dict[str, Any]":
    """Lay what was given over the defaults."""
    return _merge(DEFAULTS, given if isinstance(given, dict) else {}, "")


def _merge(defaults: "dict[str, Any]", given: "dict[str, Any]", path: str) -> "dict[str, Any]":
    merged = dict(given)  # what we do not know stays: a newer firmware may
    for name, default in defaults.items():
        value = given.get(name, default)
        if isinstance(default, dict):
            merged[name] = _merge(default, value if isinstance(value, dict) else {}, path + name + ".")
        elif _number(default) != _number(value) or not (_number(default) or type(value) is type(default)):
            print(f"settings: {path}{name}={value!r} is of the wrong kind, took {default!r}")
            merged[name] = default
        else:
            merged[name] = value
    return merged


def _number(value: object) -> bool:
    return type(value) in (int, float)


def night(given: list) -> "list | None":
    """Turn ["22:00", "07:00", 0.1] into minutes of the day; None where there is no night."""
    try:
        start, end, level = given
        minutes = [int(text[:2]) * 60 + int(text[3:5]) for text in (start, end)]
        return minutes + [min(1.0, max(0.0, level))]
    except (ValueError, TypeError, IndexError):
        return None
