"""The folder of a closed broker: what the broker reads, and what its clients must be told.

FOLDER/house.json        who there is
FOLDER/ca.crt, ca.key    the CA; the key is needed here only
FOLDER/clients/          a password per user
FOLDER/broker/           what the broker reads, owned by the user that it runs as
FOLDER/data/             its store, in a container
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from claude_gauge.apps.broker import mosquitto_conf, passwords
from claude_gauge.apps.broker.certificates import Pair, issue, make_ca
from claude_gauge.apps.broker.roles import User, acl
from claude_gauge.errors import GaugeError


class Register(BaseModel):
    """What `house.json` holds; no secrets."""

    model_config = ConfigDict(extra="forbid")

    hosts: list[str]
    discovery: str
    owner: str | None = None
    ports: mosquitto_conf.Ports = mosquitto_conf.PORTS
    users: dict[str, User] = {}


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """A closed broker's folder."""

    folder: Path

    @property
    def broker(self) -> Path:
        """What the broker reads."""
        return self.folder / "broker"

    @property
    def ca(self) -> Path:
        """The CA's certificate, which every client needs."""
        return self.folder / "ca.crt"

    def password_file(self, name: str) -> Path:
        """Where a user's password is."""
        return self.folder / "clients" / f"{name}.password"

    def register(self) -> Register:
        """Read who there is; raises GaugeError where there is no such folder."""
        path = self.folder / "house.json"
        try:
            return Register.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise GaugeError(f"no broker in {self.folder}: make one with `claude-gauge broker init`") from None
        except (OSError, ValidationError) as error:
            raise GaugeError(f"cannot read {path}: {error.__class__.__name__}; run as its owner, or mend it") from None

    def make(self, register: Register, now: datetime) -> None:
        """Make folder, CA, certificate and configuration; raises GaugeError where there is one already."""
        owner = register.owner
        if (self.folder / "house.json").exists():
            raise GaugeError(
                f"{self.folder} holds a broker already: see `claude-gauge broker add`, or name another folder"
            )
        if owner is not None:
            _ids(owner)
        for path in (self.folder, self.folder / "clients", self.broker, self.folder / "data"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = make_ca(f"claude-gauge CA of {register.hosts[0]}", now)
        _write(self.ca, ca.certificate, 0o644)
        _write(self.folder / "ca.key", ca.key, 0o600)
        _write(
            self.broker / "mosquitto.conf",
            mosquitto_conf.installed(str(self.broker.absolute()), register.ports).encode(),
            0o644,
        )
        _write(self.broker / "container.conf", mosquitto_conf.container().encode(), 0o644)
        self._save(register, [])
        self.certify(register.hosts, now)

    def certify(self, hosts: list[str], now: datetime) -> None:
        """Give the broker a new certificate for these hosts."""
        register = self.register()
        ca = Pair(self.ca.read_bytes(), (self.folder / "ca.key").read_bytes())
        pair = issue(ca, hosts[0], now, hosts=hosts)
        _write(self.broker / "broker.crt", pair.certificate, 0o644)
        _write(self.broker / "broker.key", pair.key, 0o600)
        self._save(register.model_copy(update={"hosts": hosts}), self._lines())

    def add(self, user: User) -> None:
        """Add a user with a password of its own, or give one that exists a new role and password."""
        register, password = self.register(), passwords.make()
        if user.own and any(user.own == other.own and user.name != name for name, other in register.users.items()):
            raise GaugeError(f"another user writes {user.own} already: revoke it first, or name another --node")
        _write(self.password_file(user.name), f"{password}\n".encode(), 0o600)
        register.users[user.name] = user
        self._save(register, [*self._lines(without=user.name), passwords.line(user.name, password)])

    def revoke(self, name: str) -> User:
        """Take a user away; raises GaugeError for one that is not there."""
        register = self.register()
        if name not in register.users:
            raise GaugeError(f"no user {name}; there are: {', '.join(register.users) or 'none'}")
        user = register.users.pop(name)
        self._save(register, self._lines(without=name))
        self.password_file(name).unlink(missing_ok=True)
        return user

    def _lines(self, without: str = "") -> list[str]:
        path = self.broker / "passwords"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [line for line in lines if line.partition(":")[0] != without]

    def _save(self, register: Register, lines: list[str]) -> None:
        _write(self.broker / "passwords", "".join(f"{line}\n" for line in lines).encode(), 0o600)
        _write(self.broker / "acl", acl(register.users.values(), register.discovery).encode(), 0o600)
        _write(self.folder / "house.json", register.model_dump_json(indent=2).encode() + b"\n", 0o600)
        if register.owner is not None:
            self._give(register.owner)

    def _give(self, owner: str) -> None:
        """Let the broker's user read what it must, and enter the folder."""
        user, group = _ids(owner)
        os.chown(self.folder, -1, group)
        self.folder.chmod(0o710)
        for path in (self.broker, self.folder / "data", *self.broker.iterdir()):
            os.chown(path, user, group)


def _ids(owner: str) -> tuple[int, int]:
    user, _, group = owner.partition(":")
    try:
        if user.isdigit():
            return int(user), int(group or user)
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise GaugeError(f"--owner {owner}: no such user; write a name, or numbers as 1883:1883") from None
    return entry.pw_uid, entry.pw_gid


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file whole; nobody sees half of it, nor reads a secret while it is written."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    draft.replace(path)


def today() -> datetime:
    """Return the time for certificates."""
    return datetime.now(UTC)
