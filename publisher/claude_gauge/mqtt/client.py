"""Makes paho's client for one connection."""

from __future__ import annotations

import socket
import traceback
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from claude_gauge.contract.usage import OFFLINE
from claude_gauge.mqtt.endpoint import Endpoint

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to the broker, through all connections; `status` is the topic of the last will."""

    client_id: str
    status: str | None = None


def make(endpoint: Endpoint, identity: Identity, version: MQTTProtocolVersion) -> mqtt.Client:
    """Make a client that never connects again by itself."""
    path = endpoint.websocket_path
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=identity.client_id,
        protocol=version,
        transport="tcp" if path is None else "websockets",
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_S
    if path is not None:
        client.ws_set_options(path)
    if identity.status is not None:
        client.will_set(identity.status, OFFLINE, qos=1, retain=True)
    return client


def close_sockets(error: BaseException) -> None:
    """Close what paho left open when a handshake failed: the socket is known to the traceback alone."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()):
            if isinstance(value, socket.socket):
                value.close()
