"""Where a closed broker's folder is, and under which names this machine is found."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from pathlib import Path

from claude_gauge.apps.broker.folder import REGISTER, BrokerFolder
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError

CHECKOUT = Path("broker/own")  # what compose.yaml mounts
DEBIAN = Path("/etc/mosquitto/claude-gauge")
MOSQUITTO = "mosquitto"


def new(settings: Settings) -> Path:
    """Choose the folder that `init` makes: for root Debian's place, beside compose.yaml, else the state folder.

    Root takes nothing from the current folder: it may be anybody's.
    """
    if os.geteuid() == 0:
        return DEBIAN if DEBIAN.parent.is_dir() else _state(settings)
    if Path("compose.yaml").exists() and Path("broker/mosquitto.conf").exists():
        return CHECKOUT
    return _state(settings)


def present(folder: Path | None, settings: Settings) -> BrokerFolder:
    """Find the folder that `init` made; raises GaugeError where there is none."""
    usual = [DEBIAN, _state(settings)] if os.geteuid() == 0 else [CHECKOUT, DEBIAN, _state(settings)]
    for place in [folder] if folder else usual:
        with contextlib.suppress(PermissionError):  # root's is not ours
            if (place / REGISTER).exists():
                return at(place)
    where = folder or new(settings)
    raise GaugeError(f"no broker in {where}: make one with `claude-gauge broker init`, or name its --folder")


def at(folder: Path) -> BrokerFolder:
    """Return the broker's folder at this place; for a person links lead there, for root nothing does."""
    return BrokerFolder(folder.absolute() if os.geteuid() == 0 else folder.resolve())


def owner() -> str | None:
    """Name the user that the broker runs as, where we may let it read."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(MOSQUITTO)
    except KeyError:
        return None
    return MOSQUITTO


def _state(settings: Settings) -> Path:
    return settings.state_dir.expanduser() / "broker" / "own"


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
