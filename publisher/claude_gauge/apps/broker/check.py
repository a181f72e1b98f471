"""Checks from outside that the broker refuses what it must: what it delivers counts, not what it answers.

Mosquitto acknowledges a forbidden subscription, and with 3.1.1 a forbidden message too.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from claude_gauge.apps.broker.certificates import expires
from claude_gauge.apps.broker.folder import BrokerFolder, Register
from claude_gauge.apps.broker.roles import Role, User
from claude_gauge.contract.usage import ROOT
from claude_gauge.mqtt.connection import Connection, Identity, close_sockets
from claude_gauge.mqtt.endpoint import FIVE, Endpoint
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.trouble import FINE, MUTE, Reason, failure
from claude_gauge.system.net import Wake, answers, trusting

STEP_S = 5.0


class Probe:
    """One connection; its network runs only inside the methods."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._endpoint, self._context = endpoint, context
        self._acked: dict[int, str | None] = {}
        self._wake = Wake()
        identity = Identity(f"check-{secrets.token_hex(6)}")
        self._connection = Connection(endpoint, identity, FIVE, self._on_message, self._acked.__setitem__)

    def enter(self, password: str | None) -> Reason:
        """Connect; return the reason of a failure, else `FINE`."""
        try:
            self._connection.open(self._wake, password, self._context)
        except (OSError, ValueError) as error:
            close_sockets(error)
            return failure(error, self._endpoint)
        until([self], lambda: self._connection.accepted or not self.inside)
        return FINE if self._connection.accepted else self._connection.why if self._connection.why.what else MUTE

    @property
    def inside(self) -> bool:
        """Whether the connection is there."""
        return self._connection.alive

    @property
    def refused(self) -> bool:
        """Whether the broker refused the login."""
        return self._connection.refused is not None

    def subscribe(self, *filters: str) -> None:
        """Subscribe; a broker may confirm this and still deliver nothing."""
        for topic_filter in filters:
            self._connection.subscribe(topic_filter, 1)

    def write(self, topic: str, payload: bytes) -> None:
        """Publish, and wait until the broker has accepted or refused it or closed the connection."""
        mid = self._connection.publish(Message(topic, payload, retain=False))
        until([self], lambda: mid in self._acked or not self.inside)

    def turn(self) -> None:
        """Handle network events for a moment."""
        self._connection.turn(0.01)

    def leave(self) -> None:
        """Disconnect."""
        self._connection.close()
        self._wake.close()

    def _on_message(self, message: Message) -> None:
        self.received.append((message.topic, message.payload))


def until(probes: Iterable[Probe], done: Callable[[], bool], seconds: float = STEP_S) -> bool:
    """Run the probes' networks until the condition holds; False if it never did."""
    listening = list(probes)
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        for probe in listening:
            probe.turn()
    return True


SOON_DAYS = 30
TOO_LARGE = 70_000


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one attempt: `ok`, and a sentence."""

    ok: bool
    text: str


class Inspection:
    """All attempts on one broker."""

    def __init__(self, broker_folder: BrokerFolder, host: str) -> None:
        self._broker_folder = broker_folder
        self._register: Register = broker_folder.register()
        self._host = host
        self._mark = f"check-{secrets.token_hex(4)}"
        self._context = trusting(broker_folder.ca)

    def run(self, now: datetime) -> Iterator[Finding]:
        """Yield the result of each attempt."""
        days = (expires((self._broker_folder.broker / "broker.crt").read_bytes()) - now).days
        yield Finding(days > SOON_DAYS, f"certificate is good for {days} more days")
        for endpoint in self._endpoints():
            yield from self._door(endpoint)
        if not answers(self._host, self._register.ports[1], STEP_S):
            return  # nobody can sign in: said already
        probes = {user: self._probe(user) for user in self._with_password()}
        try:
            missing = [user.name for user, probe in probes.items() if not probe.inside]
            if missing:
                advice = "has the broker read its files again?"
                yield Finding(ok=False, text=f"not let in with their own password: {', '.join(missing)}; {advice}")
                return
            untried = [user.name for user in self._register.users.values() if user not in probes]
            if untried:
                yield Finding(ok=True, text=f"not tried, their passwords are no longer here: {', '.join(untried)}")
            yield from self._deliveries(probes)
            yield from self._oversize(probes)
        finally:
            for probe in probes.values():
                probe.leave()

    def _endpoints(self) -> list[Endpoint]:
        plain, tls, websockets = self._register.ports
        return [
            Endpoint(self._host, tls, tls=True),
            Endpoint(self._host, websockets, tls=True, websocket_path="/mqtt"),
            Endpoint("127.0.0.1" if self._host == "localhost" else self._host, plain),
        ]

    def _with_password(self) -> list[User]:
        return [user for user in self._register.users.values() if self._broker_folder.password_file(user.name).exists()]

    def _probe(self, user: User) -> Probe:
        probe = Probe(replace(self._endpoints()[0], user=user.name), self._context)
        probe.enter(self._broker_folder.password_file(user.name).read_text("utf-8").strip())
        return probe

    def _door(self, endpoint: Endpoint) -> Iterator[Finding]:
        """Try to connect without a user, and with a wrong password."""
        kind = "websockets" if endpoint.websocket_path else "TLS" if endpoint.tls else "no TLS"
        users = self._with_password()
        tries: list[tuple[str, str | None, str | None]] = [("without a name", None, None)]
        if users:
            tries.append(("with a wrong password", users[0].name, secrets.token_hex(8)))
        for what, name, password in tries:
            probe = Probe(replace(endpoint, user=name), self._context if endpoint.tls else None)
            why = probe.enter(password)
            probe.leave()
            if why.what.startswith("refuses the connection"):
                closed = kind == "no TLS" and self._host != "localhost"
                advice = "" if closed else "; start the broker, or name its machine with --host"
                yield Finding(closed, f"{endpoint.place} ({kind}): nothing listens there{advice}")
                return
            refused = probe.refused
            how = "refused" if refused else str(why) or "let in"
            yield Finding(refused, f"{endpoint.place} ({kind}): {what} {how}")

    def _samples(self) -> list[str]:
        """Return one made-up topic of each kind, and Home Assistant's status, where no client minds what we write."""
        users = self._with_password()
        own = [f"{user.own}/{self._mark}" for user in users if user.own]
        named = [f"{ROOT}/{place}{user.name}/{self._mark}" for user in users for place in ("", "device/")]
        discovery = self._register.discovery
        leaves = ["usage", "status", "alert", "settings", "set/ceiling", "set/redline", f"set/{self._mark}"]
        foreign = [f"{ROOT}/{self._mark}/{leaf}" for leaf in leaves]
        foreign += [
            f"{ROOT}/device/{self._mark}/{leaf}" for leaf in ("status", "diagnostics", "update", "set/identify")
        ]
        homes = ["status", self._mark, f"device/{self._mark}/config", f"sensor/{self._mark}/config"]
        return list(
            dict.fromkeys([*own, *named, *foreign, *(f"{discovery}/{each}" for each in homes), f"{self._mark}/x"])
        )

    def _deliveries(self, probes: dict[User, Probe]) -> Iterator[Finding]:
        """Let every user write each topic and subscribe to everything; compare what arrives with `may`."""
        discovery, samples = self._register.discovery, self._samples()
        for probe in probes.values():
            probe.subscribe("#", f"{ROOT}/#", f"{discovery}/#", *samples)
        expected: dict[User, set[tuple[str, bytes]]] = {user: set() for user in probes}
        for writer, probe in probes.items():
            for topic in samples:
                probe.write(topic, writer.name.encode())
                if may(writer, "write", topic, discovery):
                    for reader in probes:
                        if may(reader, "read", topic, discovery):
                            expected[reader].add((topic, writer.name.encode()))
        received, names = {user: probe.received for user, probe in probes.items()}, {user.name for user in probes}
        until(probes.values(), lambda: all(expected[user] <= set(received[user]) for user in probes))
        for reader, messages in received.items():
            tried = {each for each in messages if each[0] in samples and each[1].decode(errors="replace") in names}
            yield self._compared(reader, tried, expected[reader])
        for writer in probes:
            yield self._written(writer, received, samples)
        yield from self._unproven(probes)

    def _compared(self, reader: User, received: set[tuple[str, bytes]], expected: set[tuple[str, bytes]]) -> Finding:
        wrong, missing = received - expected, expected - received
        who = f"{reader.name} ({reader.role})"
        if wrong:
            return Finding(ok=False, text=f"{who} was given {_list(topic for topic, _ in wrong)}")
        if missing:
            return Finding(ok=False, text=f"{who} was not given {_list(topic for topic, _ in missing)}")
        return Finding(ok=True, text=f"{who} was given what it may read ({len(expected)}), and nothing else")

    def _written(self, writer: User, received: dict[User, list[tuple[str, bytes]]], samples: list[str]) -> Finding:
        came = {
            topic for messages in received.values() for topic, payload in messages if payload == writer.name.encode()
        }
        forbidden = [topic for topic in samples if not may(writer, "write", topic, self._register.discovery)]
        wrong = came & set(forbidden)
        if wrong:
            return Finding(ok=False, text=f"{writer.name} ({writer.role}) could write {_list(wrong)}")
        return Finding(
            ok=True, text=f"{writer.name} ({writer.role}) could write none of {len(forbidden)} topics of others"
        )

    def _unproven(self, probes: dict[User, Probe]) -> Iterator[Finding]:
        if not any(user.role is Role.HOMEASSISTANT for user in probes):
            yield Finding(ok=True, text="nobody here reads discovery topics: writes to them were not proved")

    def _oversize(self, probes: dict[User, Probe]) -> Iterator[Finding]:
        writer = next((user for user in probes if user.own), None)
        if writer is None:
            return
        probes[writer].write(f"{writer.own}/{self._mark}", bytes(TOO_LARGE))
        refused = not probes[writer].inside
        yield Finding(refused, f"a message of {TOO_LARGE:,} bytes is {'refused' if refused else 'taken'}")


def _list(topics: Iterator[str] | set[str]) -> str:
    return ", ".join(sorted(topics))


def may(user: User, access: str, topic: str, discovery: str) -> bool:
    """Return whether a user should be able to `read` or `write` a topic.

    Written apart from the rules that make the ACL, so that a mistake in them is found here.
    """
    levels = topic.split("/")
    ours, home = levels[0] == ROOT, topic.startswith(f"{discovery}/")
    board = ours and levels[1:2] == ["device"]
    own = {
        Role.PUBLISHER: [ROOT, user.node or user.name],
        Role.FLEET: [ROOT, "all"],
        Role.DEVICE: [ROOT, "device", user.name],
    }.get(user.role, [])
    in_own = bool(own) and levels[: len(own)] == own and len(levels) > len(own)
    if access == "write":
        order = ours and (levels[2:] in (["set", "ceiling"], ["set", "redline"]) or (board and levels[3:4] == ["set"]))
        others = {Role.UPDATER: board and levels[3:4] == ["update"], Role.HOMEASSISTANT: home or order}
        return others.get(user.role, in_own)
    shown = ours and len(levels) == 3 and levels[2] in {"usage", "status"}  # noqa: PLR2004 - claude-gauge/NODE/LEAF
    born = topic == f"{discovery}/status"  # Home Assistant's word that it has started
    node = ours or (born and user.role in {Role.PUBLISHER, Role.FLEET})
    seen = {Role.DEVICE: in_own or shown, Role.UPDATER: board, Role.HOMEASSISTANT: ours or home}
    return seen.get(user.role, node)
