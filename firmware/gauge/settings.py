"""What `config.json` says, laid over the defaults; a wrong value is said once and the default taken.

Pure but for `load`: `claude-gauge firmware config` checks what was typed with these very functions.
"""

import json
import os

from gauge import chips

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULTS: "dict[str, Any]" = {
    "id": "",  # of this device in its topics; empty: from the chip
    "chip": chips.DEFAULT,  # where MicroPython does not say what it runs on
    "node": "all",  # whose usage is shown
    "wifi": {"ssid": "", "password": ""},
    "networks": [],  # more of them, each as "wifi"; tried in this order
    "broker": {"host": "", "port": 1883, "user": "", "password": "", "ca": ""},  # ca: a file here, DER; means TLS
    "keepalive_s": 15,
    "discovery": "homeassistant",  # Home Assistant's prefix; empty: off
    "ntp": "pool.ntp.org",  # empty: off; the broker's host is asked as well
    "utc_floor": 0,  # the time of the installation: where a clock begins that nobody has set
    "utc_offset_min": 0,
    "tach_high": 1_250_000.0,  # tokens per minute at the end of the scale
    "movement": "quad",  # quad, direct, voltmeter, servo
    "needles": {},  # by name: pins (each chip has its own), zero, span, points, reverse
    "reset_pin": -1,  # of the quad driver (each chip has its own); -1: tied to 3.3 V
    "lamps": {"kind": "ws2812", "pins": [], "brightness": 0.5, "night": []},  # night: ["22:00", "07:00", 0.1]
    "sweep": True,  # show the whole scale at power-on, as a car does
    "watchdog_ms": 30_000,  # longer than the look-up of a name may block; 0: off
    "ota_key": "",  # updates over the air need one
    "prove_s": 60,  # an update that was connected and alive for so long is trusted
    "portal": {"http": 80, "dns": 53, "password": ""},  # password: of the set-up network; empty: made up, and printed
}
LONGEST_SSID, LONGEST_PASSWORD, LONGEST_HOST, LONGEST_TEXT = 32, 63, 253, 255
LARGEST = 1e15
NETWORKS = 5  # that the set-up page keeps
MOST_NETWORKS = 20
LONGEST_FILE = 8_000  # four times what all settings take; a board must hold it in one piece


def load(path: str, chip: str = "") -> "dict[str, Any] | None":
    """Return the settings, or None where there is no file; raises ValueError for one that makes no sense."""
    try:
        if os.stat(path)[6] > LONGEST_FILE:
            raise ValueError(path + f" is too long: {LONGEST_FILE} bytes at most")
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        print("settings:", path, repr(error))
        return None
    text = ""
    try:
        text = content.decode().lstrip("\ufeff")  # Windows editors begin a file so
        given = json.loads(text)
    except (ValueError, MemoryError, RuntimeError):  # not UTF-8, no JSON; a thousand brackets within each other
        given = None
    if not isinstance(given, dict) or text.strip()[-1:] != "}":  # MicroPython forgives an object that was cut off
        raise ValueError(path + " is no JSON object: a bracket, a comma or a quote is missing, or it is not UTF-8")
    return merge(given, chip)


def merge(given: "dict[str, Any]", chip: str = "") -> "dict[str, Any]":
    """Lay what was given over the defaults, the wiring over the chip's own."""
    given = given if isinstance(given, dict) else {}
    named = given.get("chip")
    chip = chip or (named if named in chips.NAMES else chips.DEFAULT)
    merged = _merge(_defaults(chip, str(given.get("movement", "quad"))), given, "")
    merged["chip"] = chip
    return merged


def _defaults(chip: str, movement: str) -> "dict[str, Any]":
    own = chips.wiring(chip, movement)
    lamps = dict(DEFAULTS["lamps"], pins=own["lamps"]["pins"])
    return dict(DEFAULTS, needles=own["needles"], reset_pin=own["reset_pin"], lamps=lamps)


def _merge(defaults: "dict[str, Any]", given: "dict[str, Any]", path: str) -> "dict[str, Any]":
    merged = dict(given)  # what we do not know stays: a newer firmware may
    for name, default in defaults.items():
        value = given.get(name, default)
        if isinstance(default, dict):
            merged[name] = _merge(default, value if isinstance(value, dict) else {}, path + name + ".")
        elif _number(default) != _number(value) or not (_number(default) or type(value) is type(default)):
            print(f"settings: {path}{name}={value!r} is of the wrong kind, took {default!r}")
            merged[name] = default
        elif type(default) is int and type(value) is float:
            merged[name] = int(value) if abs(value) < LARGEST else default  # inf is no int
        else:
            merged[name] = value
    return merged


def _number(value: object) -> bool:
    return type(value) in (int, float)


def wrong(settings: "dict[str, Any]") -> "list[str]":
    """Say what can't be, a sentence each, by the names of the settings; pins apart, which `chips.wrong` knows."""
    broker, portal = settings["broker"], settings["portal"]
    ranges = (
        ("tach_high", settings["tach_high"], 1, LARGEST),
        ("utc_floor", settings["utc_floor"], 0, 4_000_000_000),
        ("keepalive_s", settings["keepalive_s"], 1, 3600),
        ("broker.port", broker["port"], 1, 65_535),
        ("portal.http", portal["http"], 1, 65_535),
        ("portal.dns", portal["dns"], 1, 65_535),
        ("lamps.brightness", settings["lamps"]["brightness"], 0, 1),
        ("utc_offset_min", settings["utc_offset_min"], -1440, 1440),
        ("watchdog_ms", settings["watchdog_ms"] or 1000, 1000, 3_600_000),  # a shorter one would restart it for ever
        ("prove_s", settings["prove_s"], 0, 86_400),
    )
    problems = [
        f"{name}: {value} is not from {low} to {high}" for name, value, low, high in ranges if not low <= value <= high
    ]
    problems += network(settings["wifi"], "wifi")
    if len(settings["networks"]) > MOST_NETWORKS:
        problems.append(f"networks: {MOST_NETWORKS} at most")
    for place, other in enumerate(settings["networks"][:MOST_NETWORKS]):
        problems += network(other, f"networks[{place}]")
    problems += lengths(broker) + topics(settings)
    if settings["lamps"]["night"] and not night(settings["lamps"]["night"]):
        problems.append('lamps.night: wants ["22:00", "07:00", 0.1]: from, to, and a brightness from 0 to 1')
    return problems + [problem for name in chips.NEEDLES for problem in _dial(settings["needles"][name], name)]


def network(given: "Any", name: str) -> "list[str]":
    """Say what is wrong with the name and the password of a network."""
    if not isinstance(given, dict) or not all(isinstance(given.get(key, ""), str) for key in ("ssid", "password")):
        return [name + ': wants {"ssid": "...", "password": "..."}']
    problems = []
    password = given.get("password", "")
    if len(given.get("ssid", "").encode()) > LONGEST_SSID:
        problems.append(f"{name}.ssid: the name of a Wi-Fi network has {LONGEST_SSID} bytes at most")
    if len(password.encode()) > LONGEST_PASSWORD and not (len(password) == 64 and _hex(password)):
        problems.append(f"{name}.password: the password of a Wi-Fi network has {LONGEST_PASSWORD} bytes at most")
    return problems


def lengths(broker: "dict[str, Any]") -> "list[str]":
    """Say which of the broker's texts are too long, or no host's name."""
    problems = []
    if len(broker["host"]) > LONGEST_HOST or any(part in broker["host"] for part in (" ", "/", ":", "@")):
        problems.append("broker.host: the name or the address of a machine, without port and without mqtt://")
    long = [key for key in ("user", "password") if len(broker[key].encode()) > LONGEST_TEXT]
    return problems + [f"broker.{key}: {LONGEST_TEXT} bytes at most" for key in long]


def topics(settings: "dict[str, Any]") -> "list[str]":
    """Say which names can't be part of a topic: a broker ends the session of who sends one."""
    problems = []
    for name, foreign in (("id", "/+#\0"), ("node", "/+#\0"), ("discovery", "+#\0")):
        if any(letter in settings[name] for letter in foreign):
            problems.append(f"{name}: {settings[name]!r} is not a plain name")
    return problems if settings["node"] else problems + ["node: is empty; the name of a machine, or all"]


def _hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


def _dial(needle: "dict[str, Any]", name: str) -> "list[str]":
    path = "needles." + name + "."
    ranges = (("zero", -45, 315), ("span", 1, 330), ("full", 0, 1), ("low_us", 0, 20_000), ("high_us", 0, 20_000))
    problems = []
    for key, low, high in ranges:
        value = needle.get(key, low)
        if not _number(value) or not low <= value <= high:
            problems.append(f"{path}{key}: {value!r} is not from {low} to {high}")
    points = needle.get("points", [])
    try:
        shares = [0.0] + [share for share, stands in points if 0 <= stands <= 1] + [1.0]
        good = len(shares) == len(points) + 2 and all(one < other for one, other in zip(shares, shares[1:]))
    except (TypeError, ValueError):
        good = False
    if not good:
        problems.append(path + "points: wants pairs of shares, [[0.5, 0.51]], in order, each between 0 and 1")
    return problems


def night(given: list) -> "list | None":
    """Turn ["22:00", "07:00", 0.1] into minutes of the day; None where there is no night."""
    try:
        start, end, level = given
        minutes = [int(text[:2]) * 60 + int(text[3:5]) for text in (start, end)]
        level = min(1.0, max(0.0, level))
        return minutes + [level] if all(0 <= minute < 1440 for minute in minutes) else None
    except (ValueError, TypeError, IndexError):
        return None


DEFAULTS = _defaults(chips.DEFAULT, "quad")
