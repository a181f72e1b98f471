"""Where a closed broker's folder is, and under which names this machine is found."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

from claude_gauge.apps.broker.folder import BrokerFolder
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError

CHECKOUT = Path("broker/own")  # what compose.yaml mounts
DEBIAN = Path("/etc/mosquitto/claude-gauge")
MOSQUITTO = "mosquitto"
IN_CONTAINER = "1883:1883"  # the image's own user


def new(settings: Settings) -> Path:
    """Choose the folder that `init` makes: beside compose.yaml, for root Debian's place, else the state folder."""
    if Path("compose.yaml").exists() and Path("broker/mosquitto.conf").exists():
        return CHECKOUT
    if os.geteuid() == 0 and DEBIAN.parent.is_dir():
        return DEBIAN
    return settings.state_dir.expanduser() / "broker" / "own"


def present(folder: Path | None, settings: Settings) -> BrokerFolder:
    """Find the folder that `init` made; raises GaugeError where there is none."""
    for place in [folder] if folder else [CHECKOUT, DEBIAN, settings.state_dir.expanduser() / "broker" / "own"]:
        if (place / "house.json").exists():
            return BrokerFolder(place.absolute())
    where = folder or new(settings)
    raise GaugeError(f"no broker in {where}: make one with `claude-gauge broker init`, or name its --folder")


def owner(folder: Path) -> str | None:
    """Name the user that the broker runs as, where we may give files to it."""
    if os.geteuid() != 0:
        return None
    if folder == CHECKOUT:
        return IN_CONTAINER
    try:
        pwd.getpwnam(MOSQUITTO)
    except KeyError:
        return None
    return MOSQUITTO


def hosts() -> list[str]:
    """List the names and addresses under which other machines may look for this one."""
    host = socket.gethostname().lower()
    short = host.partition(".")[0]
    names = [short, f"{short}.local", host, "localhost", "broker", "127.0.0.1", _address()]
    return list(dict.fromkeys(name for name in names if name))


def _address() -> str | None:
    """Return the address that this machine has towards others; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
