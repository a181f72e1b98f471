"""Users of the broker and their roles, the ACL that follows from them, and Mosquitto's configuration; pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from claude_gauge.contract.usage import FLEET_NODE, NODE_PATTERN, ORDERS, ROOT, node_fault, order_topic
from claude_gauge.errors import GaugeError


class Role(StrEnum):
    """What a user is; the role decides what it may read and write."""

    PUBLISHER = "publisher"
    FLEET = "fleet"
    DEVICE = "device"
    UPDATER = "updater"
    HOMEASSISTANT = "homeassistant"
    VIEWER = "viewer"


MEANING = {
    Role.PUBLISHER: "writes its own node's topics, reads all",
    Role.FLEET: "writes claude-gauge/all, reads all",
    Role.DEVICE: "reads usage and status, writes its own status",
    Role.UPDATER: "sends firmware to devices",
    Role.HOMEASSISTANT: "reads all, has the discovery topics, sets nodes' numbers and boards",
    Role.VIEWER: "reads all, writes nothing",
}


class User(BaseModel):
    """A user of the broker; `node` is the node that a publisher writes, `announces` a device in Home Assistant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NODE_PATTERN)
    role: Role
    node: str | None = Field(default=None, pattern=NODE_PATTERN)
    announces: bool = False

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.role is Role.PUBLISHER and (why := node_fault(self.node or self.name)):
            raise ValueError(f"{self.node or self.name} is no node's name: {why}")
        if self.node is not None and self.role is not Role.PUBLISHER:
            raise ValueError(f"--for names a publisher's node; a {self.role} has none")
        if self.announces and self.role is not Role.DEVICE:
            raise ValueError(f"--announces is for devices; a {self.role} has no such choice")
        return self

    @property
    def own(self) -> str | None:
        """The branch of topics that only this user may write; None for roles without one."""
        match self.role:
            case Role.PUBLISHER:
                return f"{ROOT}/{self.node or self.name}"
            case Role.FLEET:
                return f"{ROOT}/{FLEET_NODE}"
            case Role.DEVICE:
                return f"{ROOT}/device/{self.name}"
        return None


def first_users(node: str) -> tuple[User, ...]:
    """Return the users that `broker init` makes; raises GaugeError where the node has the name of another one."""
    users = (
        User(name=node, role=Role.PUBLISHER),
        User(name="gauge", role=Role.DEVICE),
        User(name="homeassistant", role=Role.HOMEASSISTANT),
        User(name="viewer", role=Role.VIEWER),
    )
    if len({user.name for user in users}) < len(users):
        raise GaugeError(f"--node {node}: another of the users that are made has this name; choose another")
    return users


def rules(user: User, discovery: str) -> list[str]:
    """List the ACL lines of one user; Mosquitto refuses whatever no line allows."""
    match user.role:
        case Role.PUBLISHER | Role.FLEET:
            node = str(user.own).rpartition("/")[2]
            return [
                f"topic readwrite {user.own}/#",
                f"topic read {ROOT}/#",
                f"topic readwrite {discovery}/device/claude_gauge_{node}/config",
                f"topic read {discovery}/status",
            ]
        case Role.DEVICE:
            config = f"topic write {discovery}/device/claude_gauge_device_{user.name}/config"
            own = [f"topic read {ROOT}/+/usage", f"topic read {ROOT}/+/status", f"topic readwrite {user.own}/#"]
            return own + [config] * user.announces
        case Role.UPDATER:
            return [f"topic read {ROOT}/device/#", f"topic write {ROOT}/device/+/update/#"]
        case Role.HOMEASSISTANT:
            orders = [f"topic write {order_topic('+', name)}" for name in ORDERS]
            boards = f"topic write {ROOT}/device/+/set/#"
            return [f"topic read {ROOT}/#", *orders, boards, f"topic readwrite {discovery}/#"]
    return [f"topic read {ROOT}/#"]


def acl(users: Iterable[User], discovery: str) -> str:
    """Write the ACL of all users."""
    lines = ["# Written by `claude-gauge broker`. What no line allows is refused."]
    for user in users:
        lines += ["", f"# {user.role}: {MEANING[user.role]}", f"user {user.name}", *rules(user, discovery)]
    return "\n".join(lines) + "\n"


PLACE_IN_CONTAINER = "/mosquitto/own"
Ports = tuple[int, int, int]  # plain, TLS, websockets over TLS
PORTS: Ports = (1883, 8883, 8884)

_COMMON = """\
allow_anonymous false
password_file {place}/passwords
acl_file {place}/acl

# Bounds: a payload has 1,024 bytes, Home Assistant's discovery up to 20,000.
max_packet_size 65536
max_inflight_messages 20
max_queued_messages 200
max_queued_bytes 1048576
persistent_client_expiration 1d
set_tcp_nodelay true

# Without TLS: {plain_for}.
listener {plain}
max_connections 200

# TLS, for all other machines.
listener {tls}
certfile {place}/broker.crt
keyfile {place}/broker.key
tls_version tlsv1.2
max_connections 200

# Websockets over TLS. Mosquitto 2.0 opens websockets on all interfaces unless socket_domain is said.
listener {websockets}
protocol websockets
socket_domain ipv4
certfile {place}/broker.crt
keyfile {place}/broker.key
tls_version tlsv1.2
max_connections 200
"""

_STORE = """\
persistence true
persistence_location /mosquitto/data/
autosave_interval 60
log_dest stderr
connection_messages false

"""


def installed(place: str, ports: Ports = PORTS) -> str:
    """Write the file for /etc/mosquitto/conf.d of an installed Mosquitto, whose own file sets log and store."""
    plain, tls, websockets = ports
    head = "# Written by `claude-gauge broker init`, for /etc/mosquitto/conf.d/.\n"
    return head + _COMMON.format(
        place=place, plain=f"{plain} 127.0.0.1", plain_for="for this machine alone", tls=tls, websockets=websockets
    )


def container() -> str:
    """Write the file for the container of compose.yaml, which opens the plain port to this machine alone."""
    head = "# What compose.yaml mounts; `claude-gauge broker init` makes the passwords and certificates.\n"
    plain, tls, websockets = PORTS
    why = "compose.yaml opens it to this machine alone"
    own = _COMMON.format(place=PLACE_IN_CONTAINER, plain=plain, plain_for=why, tls=tls, websockets=websockets)
    return head + _STORE + own
