"""The folder of a closed broker: its register, CA, passwords and configuration.

FOLDER/house.json        the register: users, host names, ports
FOLDER/ca.crt, ca.key    the CA; the key is needed here only
FOLDER/clients/          a password per user
FOLDER/broker/           what the broker reads; it has no write access
FOLDER/data/             the broker's store in a container: the only folder that it owns
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from claude_gauge.apps.broker import roles
from claude_gauge.apps.broker.certificates import Pair, issue, make_ca
from claude_gauge.apps.broker.files import Directory, Ids, draft_name, drafts_of, ids_of, refuse_foreign
from claude_gauge.apps.broker.roles import User, acl
from claude_gauge.errors import GaugeError

REGISTER, CA, CA_KEY = "house.json", "ca.crt", "ca.key"
CLIENTS, BROKER, DATA = "clients", "broker", "data"
# Slow hashing helps against guessed passwords; ours are 192 bits of chance, and the broker hashes on its one thread.
ROUNDS = 1000


class Register(BaseModel):
    """The content of `house.json`; it has no secrets."""

    model_config = ConfigDict(extra="forbid")

    hosts: list[str] = Field(min_length=1)
    discovery: str
    owner: str | None = None
    ports: roles.Ports = roles.PORTS
    users: dict[str, User] = {}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if any(name != user.name for name, user in self.users.items()):
            raise ValueError("a user stands under another name")
        return self


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """A closed broker's folder; every method raises GaugeError for what can't be read or written."""

    folder: Path

    @property
    def broker(self) -> Path:
        """The folder that the broker reads."""
        return self.folder / BROKER

    @property
    def ca(self) -> Path:
        """The CA's certificate, which every client needs."""
        return self.folder / CA

    def password_file(self, name: str) -> Path:
        """Return the path of a user's password file."""
        return self.folder / CLIENTS / f"{name}.password"

    def register(self) -> Register:
        """Read the register."""
        with self._open() as top:
            return self._register(top)

    def make(self, register: Register, now: datetime, users: Sequence[User] = ()) -> None:
        """Make folder, CA, certificate, configuration and users, whole or not at all."""
        if (self.folder / REGISTER).exists():
            raise GaugeError(
                f"{self.folder} holds a broker already: see `claude-gauge broker add`, or name another folder"
            )
        if register.owner is not None and os.geteuid() not in {0, ids_of(register.owner).user}:
            raise GaugeError(
                f"--owner {register.owner}: only root can let another user read; use sudo, or leave it out"
            )
        refuse_foreign(self.folder)
        with _explained(self.folder):
            self.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            refuse_foreign(self.folder)  # again: below /tmp another user may have made the parent just before us
            draft = self.folder.with_name(draft_name(self.folder.name))
            try:
                BrokerFolder(draft).fill(register, now, users, self.broker)
                _make_way(self.folder)
                draft.rename(self.folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            self._remove_drafts()

    def _remove_drafts(self) -> None:
        """Remove what an `init` that was killed left beside the folder: keys and passwords of a broker that is none."""
        with contextlib.suppress(OSError):  # a folder that can't be listed: nothing of it is in our way
            for draft in drafts_of(self.folder):
                shutil.rmtree(draft, ignore_errors=True)

    def fill(self, register: Register, now: datetime, users: Sequence[User], place: Path) -> None:
        """Make all of it here, for a folder that will be moved to `place`."""
        ids = _ids(register)
        self.folder.mkdir(mode=0o700)
        with Directory(self.folder) as top:
            for name in (CLIENTS, BROKER, DATA):
                top.make(name).__exit__(None, None, None)
            ca = make_ca(f"claude-gauge CA of {register.hosts[0]}", now)
            top.write(CA, ca.certificate, 0o644)
            top.write(CA_KEY, ca.key)
            _share(top, ids)
            with top.below(BROKER) as broker:
                conf = roles.installed(str(place), register.ports)
                _give(broker, "mosquitto.conf", conf.encode(), ids)
                _give(broker, "container.conf", roles.container().encode(), ids)
                _certify(broker, ca, register, now)
            self._save(top, register, [])
            for user in users:
                self._add(top, user)

    def certify(self, hosts: list[str], now: datetime) -> None:
        """Give the broker a new certificate for these hosts."""
        with self._open(change=True) as top, top.below(BROKER) as broker:
            register = self._register(top).model_copy(update={"hosts": hosts})
            _certify(broker, Pair(top.read(CA), top.read(CA_KEY)), register, now)
            self._save(top, register, _lines(broker))

    def add(self, user: User) -> None:
        """Add a user with a password of its own, or give one that exists a new role and password."""
        with self._open(change=True) as top:
            self._add(top, user)

    def _add(self, top: Directory, user: User) -> None:
        register, password = self._register(top), secrets.token_urlsafe(24)
        if user.own and any(user.own == other.own and user.name != name for name, other in register.users.items()):
            raise GaugeError(f"another user writes {user.own} already: revoke it first, or name another --node")
        with top.below(CLIENTS) as clients, top.below(BROKER) as broker:
            clients.write(f"{user.name}.password", f"{password}\n".encode())
            register.users[user.name] = user
            self._record(top, register)  # before the broker's files: nobody gets in who is not listed
            self._save(top, register, [*_lines(broker, without=user.name), password_line(user.name, password)])

    def revoke(self, name: str) -> User:
        """Remove a user; raises GaugeError if there is none of this name."""
        with self._open(change=True) as top, top.below(BROKER) as broker, top.below(CLIENTS) as clients:
            register = self._register(top)
            if name not in register.users:
                raise GaugeError(f"no user {name}; there are: {', '.join(register.users) or 'none'}")
            user = register.users.pop(name)
            self._save(top, register, _lines(broker, without=name))
            clients.remove(f"{name}.password")
        return user

    @contextmanager
    def _open(self, *, change: bool = False) -> Iterator[Directory]:
        """Open the folder; to change it, with its lock held."""
        refuse_foreign(self.folder)
        if not self.folder.is_dir():
            raise GaugeError(f"no broker in {self.folder}: make one with `claude-gauge broker init`")
        with _explained(self.folder), Directory(self.folder) as top:
            if change:
                top.lock()
                _take_back(top, _ids(self._register(top)))
                _remove_drafts(top)
            yield top

    def _register(self, top: Directory) -> Register:
        try:
            return Register.model_validate_json(top.read(REGISTER))
        except FileNotFoundError:
            raise GaugeError(f"no broker in {self.folder}: make one with `claude-gauge broker init`") from None
        except (OSError, ValidationError) as error:
            path = self.folder / REGISTER
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise GaugeError(f"cannot read {path}: {why}; run as its owner, or correct it") from None

    def _save(self, top: Directory, register: Register, lines: list[str]) -> None:
        """Write what the broker reads, for the users of the register alone, then the register."""
        ids = _ids(register)
        known = [line for line in lines if line.partition(":")[0] in register.users]
        with top.below(BROKER) as broker:
            _give(broker, "passwords", "".join(f"{line}\n" for line in known).encode(), ids)
            _give(broker, "acl", acl(register.users.values(), register.discovery).encode(), ids)
        self._record(top, register)

    def _record(self, top: Directory, register: Register) -> None:
        top.write(REGISTER, register.model_dump_json(indent=2).encode() + b"\n")


def _ids(register: Register) -> Ids | None:
    """Return the broker's user if this process is root; only root can give it read access."""
    return ids_of(register.owner) if register.owner is not None and os.geteuid() == 0 else None


def _share(top: Directory, ids: Ids | None) -> None:
    """Give the broker's group access to the files that it reads, and its user its store."""
    if ids is None:
        return
    top.share(-1, ids.group, 0o710)
    with top.below(BROKER) as broker, top.below(DATA) as data:
        broker.share(os.geteuid(), ids.group, 0o750)
        data.share(ids.user, ids.group, 0o700)


def _take_back(top: Directory, ids: Ids | None) -> None:
    """Take back what an earlier version gave to the broker's user: from the top down, so that none can be swapped."""
    if ids is None:
        return
    with top.below(BROKER) as broker:
        if broker.info.st_uid == os.geteuid():
            return
        _share(top, ids)
        for name in broker.names():
            content = broker.read(name)
            broker.remove(name)
            _give(broker, name, content, ids)


def _remove_drafts(top: Directory) -> None:
    top.remove_drafts()
    for name in (BROKER, CLIENTS):
        with top.below(name) as folder:
            folder.remove_drafts()


def _give(broker: Directory, name: str, data: bytes, ids: Ids | None) -> None:
    """Write a file that the broker reads: by its group if this process is root, else as the same user."""
    broker.write(name, data, 0o640 if ids else 0o600, ids.group if ids else -1)


def _certify(broker: Directory, ca: Pair, register: Register, now: datetime) -> None:
    pair = issue(ca, register.hosts[0], now, hosts=register.hosts)
    _give(broker, "broker.crt", pair.certificate, _ids(register))
    _give(broker, "broker.key", pair.key, _ids(register))


def _lines(broker: Directory, without: str = "") -> list[str]:
    lines = broker.read("passwords").decode("utf-8").splitlines()
    return [line for line in lines if line.partition(":")[0] != without]


def password_line(name: str, password: str) -> str:
    """Write a line of Mosquitto's password file; `mosquitto_passwd` would want the password in its arguments."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    return f"{name}:$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _make_way(folder: Path) -> None:
    """Remove empty folders that Docker made at this place; raises OSError if anything else is there."""
    if not folder.exists():
        return
    for name in (CLIENTS, BROKER, DATA):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rmdir()
    folder.rmdir()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an OSError into a GaugeError that says what failed and what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) and "/" in error.filename else folder
        advice = "run as its owner, or name another with --folder"
        if any(path.exists() and path.stat().st_uid == 0 != os.geteuid() for path in (folder, folder / BROKER)):
            advice = "it belongs to root: if Docker made it, remove it (sudo rm -r) and try again"
        raise GaugeError(f"cannot use {where}: {error.strerror}; {advice}") from None


def today() -> datetime:
    """Return the present time (UTC), from which certificates are valid."""
    return datetime.now(UTC)
