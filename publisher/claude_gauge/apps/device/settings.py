"""A board's config.json: made from the publisher's settings, checked against its chip and its pins."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from claude_gauge.apps.device.build import pure
from claude_gauge.apps.device.serial_board import About
from claude_gauge.config import Settings
from claude_gauge.contract.scales import gauges
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import parse, url_of
from claude_gauge.system.net import is_loopback, own_address

CA_FILE = "broker-ca.der"


def device_settings(settings: Settings, *, host: str | None = None, node: str | None = None) -> dict[str, Any]:
    """Return what the board must know of broker, node and scale; `host` is where it reaches the broker."""
    endpoint = parse(url_of(settings))
    if endpoint.websocket_path is not None:
        raise GaugeError(f"broker {endpoint.place}: the board speaks plain MQTT or MQTT over TLS, not websockets")
    if endpoint.tls and settings.broker_ca is None:
        raise GaugeError("broker with TLS: the board needs the CA certificate that signed it; give --broker-ca")
    if settings.broker_cert is not None:
        raise GaugeError("broker_cert: the board has no client certificate; give it a user and a password instead")
    return {
        "node": node or settings.node,
        "broker": {
            "host": host or endpoint.host,
            "port": endpoint.port,
            "user": endpoint.user or "",
            "password": settings.password or "",
            "ca": CA_FILE if endpoint.tls else "",
        },
        "tach_high": gauges(settings.redline)[1].high,
        "discovery": "" if settings.discovery == "off" else settings.discovery,
        "utc_offset_min": time.localtime().tm_gmtoff // 60,
    }


def seen_from_the_network(host: str) -> str:
    """Return a name for the broker that works on a board too: this machine's address in place of its loopback."""
    if not is_loopback(host):
        return host
    address = own_address()
    if address is None or is_loopback(address):
        raise GaugeError(f"broker {host} is this machine alone, and it has no network; name the broker by --host")
    return address


def ca_as_der(path: Path) -> bytes:
    """Return a CA certificate in the form that a board reads."""
    try:
        return ssl.PEM_cert_to_DER_cert(path.expanduser().read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise GaugeError(f"broker_ca: {path} is no readable PEM certificate ({error.__class__.__name__})") from None


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Lay new settings over those that a board has already: pins and calibration stay."""
    result = dict(old)
    for name, value in new.items():
        before = old.get(name)
        result[name] = merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return result


UNIX = "linux"  # MicroPython's unix port, which the tests take for a board


def names() -> tuple[str, ...]:
    """Return the chips that the firmware runs on."""
    return tuple(pure("chips").NAMES)


def chip_of(about: About) -> str:
    """Return which chip a board has; raises GaugeError for one that the firmware does not run on."""
    firmware = pure("chips")
    named = str(firmware.name(about.machine))
    if named:
        return named
    guessed = str(firmware.guess(about.pins)) if about.platform in ("esp32", UNIX) else ""
    if not guessed or "ESP32" in about.machine.upper():
        raise GaugeError(f"the board is a {about.machine or about.platform}; the firmware runs on {', '.join(names())}")
    return guessed


def wired(config: Mapping[str, Any], chip: str) -> dict[str, Any]:
    """Return settings with every pin written out, so that a later default can't change the pins of a soldered board."""
    movement = str(config.get("movement", "quad"))
    own = pure("chips").wiring(chip, movement)
    if movement != "quad":
        del own["reset_pin"]
    if config.get("lamps", {}).get("kind") == "leds":
        del own["lamps"]
    return {**merged(own, config), "chip": chip}


def check(config: Mapping[str, Any], about: About, chip: str) -> list[str]:
    """Return warnings about settings; raises GaugeError naming each impossible setting."""
    chips, settings = pure("chips"), pure("settings")
    full = settings.merge(dict(config), chip)
    eight = "OCT" in about.machine.upper()
    problems = [*chips.wrong(full, chip, psram=about.psram, eight=eight), *settings.wrong(full)]
    if not problems and about.pins:
        missing = [(setting, pin) for setting, pin in chips.used(full) if pin not in about.pins]
        problems = [f"{setting}: this board's MicroPython has no GPIO {pin}" for setting, pin in missing]
    if problems:
        raise GaugeError("; ".join(problems) + " (claude-gauge firmware config --edit)")
    return list(chips.doubts(full, chip))
