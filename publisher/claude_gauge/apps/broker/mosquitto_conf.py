"""Mosquitto's configuration: nobody without a password, TLS for other machines, bounds on everything.

Runs on 2.0 and 2.1; `per_listener_settings` is left out, 2.1 gives it up.
"""

from __future__ import annotations

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
