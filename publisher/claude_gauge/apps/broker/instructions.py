"""What each client of the broker must be told: where to write it, never the password itself."""

from __future__ import annotations

from claude_gauge.apps.broker.folder import BrokerFolder, Register
from claude_gauge.apps.broker.roles import MEANING, Role, User

RELOAD = (
    "Have the broker read it: `sudo systemctl reload mosquitto`, "
    "or for the container `docker compose kill --signal HUP broker`."
)


def told(house: BrokerFolder, register: Register, user: User) -> list[str]:
    """List the lines that set up one client."""
    host, port, secret = register.hosts[0], register.ports[1], house.password_file(user.name)
    head = f"{user.name} ({user.role}: {MEANING[user.role]})"
    match user.role:
        case Role.HOMEASSISTANT:
            return [
                head,
                "  In Home Assistant: Settings, Devices & services, Add integration, MQTT",
                f"  broker {host}, port {port}, user {user.name}, password from {secret}",
                f"  advanced: broker certificate validation Custom, CA certificate {house.ca}",
            ]
        case Role.DEVICE:
            return [head, f"  broker {host}, port {port}, TLS with {house.ca}",
                    f"  user and id {user.name}, password from {secret}"]  # fmt: skip
    return [
        head,
        f"  CLAUDE_GAUGE_BROKER=mqtts://{user.name}@{host}:{port}",
        f"  CLAUDE_GAUGE_BROKER_PASSWORD_FILE={secret}",
        f"  CLAUDE_GAUGE_BROKER_CA={house.ca}",
        *([f"  CLAUDE_GAUGE_NODE={user.node}"] if user.node and user.role is Role.PUBLISHER else []),
    ]


def next_steps(house: BrokerFolder) -> list[str]:
    """List what is left to do after `init`."""
    info = house.broker.stat()
    return [
        f"The broker must run as the owner of {house.broker}.",
        "Installed Mosquitto:",
        f"  sudo ln -s {house.broker / 'mosquitto.conf'} /etc/mosquitto/conf.d/claude-gauge.conf",
        "  sudo systemctl restart mosquitto",
        "Container:",
        f"  CLAUDE_GAUGE_BROKER_USER={info.st_uid}:{info.st_gid} docker compose up -d broker",
        "Then, from here: claude-gauge broker check",
    ]
