"""The place of a closed broker's folder, this machine's names, and the settings for each client (no passwords)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import socket
import stat
from pathlib import Path

from claude_gauge.apps.broker.collisions import collisions
from claude_gauge.apps.broker.folder import DATA, REGISTER, BrokerFolder, Register
from claude_gauge.apps.broker.roles import MEANING, Role, User
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.system.net import own_address

CHECKOUT = Path("broker/own")  # what compose.yaml mounts
DEBIAN = Path("/etc/mosquitto/claude-gauge")
MOSQUITTO = "mosquitto"


def new(settings: Settings) -> Path:
    """Return the folder for `init`: in /etc/mosquitto for root, beside compose.yaml in a checkout, else with the state.

    Root uses nothing from the current folder: it may belong to another user.
    """
    if os.geteuid() == 0:
        return DEBIAN if DEBIAN.parent.is_dir() else _state(settings)
    if Path("compose.yaml").exists() and Path("broker/mosquitto.conf").exists():
        return CHECKOUT
    return _state(settings)


def present(folder: Path | None, settings: Settings) -> BrokerFolder:
    """Return the folder that `init` made; raises GaugeError if there is none."""
    usual = [DEBIAN, _state(settings)] if os.geteuid() == 0 else [CHECKOUT, DEBIAN, _state(settings)]
    for place in [folder] if folder else usual:
        with contextlib.suppress(PermissionError):  # root's is not ours
            if (place / REGISTER).exists():
                return at(place)
    where = folder or new(settings)
    raise GaugeError(f"no broker in {where}: make one with `claude-gauge broker init`, or name its --folder")


def at(folder: Path) -> BrokerFolder:
    """Return the broker's folder at this path; links are followed except by root.

    Raises GaugeError for a path that Mosquitto's configuration can't hold.
    """
    place = folder.absolute() if os.geteuid() == 0 else Path(os.path.realpath(folder))  # a circle of links stays one
    if not place.name:
        raise GaugeError(f"{place} can't be the broker's folder: name one below it with --folder")
    if not str(place).isprintable():
        raise GaugeError(f"{place} has control characters or is not UTF-8: name another with --folder")
    return BrokerFolder(place)


def owner() -> str | None:
    """Return the user that the broker runs as, if this process is root and there is one."""
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
    names = [short, f"{short}.local", host, "localhost", "broker", "127.0.0.1", own_address()]
    return list(dict.fromkeys(name for name in names if name))


ETC_MOSQUITTO = Path("/etc/mosquitto")
ANNOUNCES = ", announces its own device in Home Assistant"
RELOAD = (
    "Reload the broker so that it takes effect: `sudo systemctl reload mosquitto`, "
    "or for the container `docker compose kill --signal HUP broker`."
)


def client_setup(broker_folder: BrokerFolder, register: Register, user: User) -> list[str]:
    """List the lines that set up one client: who it is, then each setting."""
    port, secret = register.ports[1], broker_folder.password_file(user.name)
    host = f"[{register.hosts[0]}]" if ":" in register.hosts[0] else register.hosts[0]
    head = f"{user.name} ({user.role}: {MEANING[user.role]}{ANNOUNCES if user.announces else ''})"
    match user.role:
        case Role.HOMEASSISTANT:
            return [
                head,
                "  In Home Assistant: Settings, Devices & services, Add integration, MQTT",
                f"  broker {host}, port {port}, user {user.name}, password from {secret}",
                f"  advanced: broker certificate validation Custom, CA certificate {broker_folder.ca}",
            ]
        case Role.DEVICE:
            return [head, f"  broker {host}, port {port}, TLS with {broker_folder.ca}",
                    f"  user and id {user.name}, password from {secret}"]  # fmt: skip
    return [
        head,
        f"  CLAUDE_GAUGE_BROKER=mqtts://{user.name}@{host}:{port}",
        f"  CLAUDE_GAUGE_BROKER_PASSWORD_FILE={_quoted(secret)}",
        f"  CLAUDE_GAUGE_BROKER_CA={_quoted(broker_folder.ca)}",
        *([f"  CLAUDE_GAUGE_NODE={user.node}"] if user.node and user.role is Role.PUBLISHER else []),
    ]


def next_steps(broker_folder: BrokerFolder) -> list[str]:
    """List what is left to do after `init`."""
    info = (broker_folder.folder / DATA).stat()
    shut = closed_to(info.st_uid, info.st_gid, broker_folder.folder)
    return [
        f"The broker must run as user {info.st_uid}, who may read {broker_folder.broker}"
        + (f"; but an installed Mosquitto may not enter {shut}: for it name a --folder elsewhere." if shut else "."),
        *_collisions(broker_folder),
        "Installed Mosquitto:",
        f"  sudo ln -s {_quoted(broker_folder.broker / 'mosquitto.conf')} /etc/mosquitto/conf.d/claude-gauge.conf",
        "  sudo systemctl restart mosquitto",
        "Container:",
        f"  CLAUDE_GAUGE_BROKER_USER={info.st_uid}:{info.st_gid} docker compose up -d broker",
        f"Then: claude-gauge broker check --folder {_quoted(broker_folder.folder)}",
    ]


def _quoted(path: Path) -> str:
    """Write a path as a shell takes it."""
    return shlex.quote(str(path))


def closed_to(user: int, group: int, folder: Path) -> Path | None:
    """Return the first of a folder's parents that this user may not enter; None where the way is open."""
    if user == 0:
        return None
    groups = {group}
    with contextlib.suppress(KeyError):
        groups |= set(os.getgrouplist(pwd.getpwuid(user).pw_name, group))
    for parent in reversed(folder.parents):
        info = parent.stat()
        bit = stat.S_IXUSR if info.st_uid == user else stat.S_IXGRP if info.st_gid in groups else stat.S_IXOTH
        if not info.st_mode & bit:
            return parent
    return None


def _collisions(broker_folder: BrokerFolder) -> list[str]:
    """Name the lines of Mosquitto's own files that would keep it from starting, or open it, beside ours."""
    owner = None
    with contextlib.suppress(KeyError):  # a number without a name, as of a container's user
        owner = (broker_folder.folder / DATA).owner()
    lines = collisions(ETC_MOSQUITTO, broker_folder.broker / "mosquitto.conf", owner)
    if not lines:
        return []
    return ["Mosquitto reads all of its files as one. Remove these lines before you link ours:", *lines]
