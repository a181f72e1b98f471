"""Says in words why a broker can't be reached, or does not let us in."""

from __future__ import annotations

import socket
import ssl

from paho.mqtt.client import WebsocketConnectionError

from claude_gauge.mqtt.endpoint import Endpoint

CLOSED = "closed the connection"
_REFUSALS = {
    "Bad user name or password": "refuses this user or password: see CLAUDE_GAUGE_BROKER_PASSWORD",
    "Not authorized": "does not let this user in: give user and password",
    "Banned": "has banned this client",
    "Client identifier not valid": "refuses our client id",
    "Server busy": "is busy",
    "Server unavailable": "says that it is unavailable",
    "Server shutting down": "is shutting down",
    "Session taken over": "let another client with our client id take over",
    "Keep alive timeout": "heard nothing from us for too long",
    "Retain not supported": "keeps no retained messages: another broker is needed",
    "QoS not supported": "does not take QoS 1: another broker is needed",
    "Packet too large": "refuses a message of this size",
}


def refusal(reason: str) -> str:
    """Put the broker's own reason in words that follow its name."""
    return _REFUSALS.get(reason, f"refuses: {reason.lower()}")


def failure(error: BaseException, endpoint: Endpoint) -> str:  # noqa: PLR0911 - one line per trouble reads best
    """Put an error met while connecting in words that follow the broker's name."""
    match error:
        case socket.gaierror():
            return f"is unknown: no address for the host {endpoint.host}"
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not accepted ({_lower(error.verify_message)}): name its CA (broker_ca)"
        case ssl.SSLError():
            return handshake(str(error))
        case WebsocketConnectionError():
            return f"answers, but not as an MQTT websocket at {str(endpoint.websocket_path).partition('?')[0]}"
        case ConnectionRefusedError():
            return "refuses the connection: nothing listens there"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return CLOSED
        case TimeoutError():
            return "does not answer"
        case OSError():
            return f"can't be reached: {_lower(error.strerror or str(error) or error.__class__.__name__)}"
    return f"can't be used: {error.__class__.__name__}"


def handshake(text: str) -> str:
    """Put OpenSSL's complaint about the other side in words."""
    lower = text.lower()
    if "certificate required" in lower or "handshake failure" in lower:
        return "wants a client certificate: name one (broker_cert, broker_key)"
    if "alert" in lower and ("certificate" in lower or "unknown ca" in lower):
        return "does not accept our client certificate"
    if "wrong version" in lower or "record layer" in lower or "eof occurred" in lower:
        return "does not speak TLS there: is it mqtt:// or ws://?"
    return f"fails the TLS handshake ({text.rpartition(']')[2].partition('(_ssl')[0].strip().lower() or lower})"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
