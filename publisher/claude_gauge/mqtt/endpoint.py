"""A broker's URL, its TLS context, and which MQTT version to try after which failure."""

from __future__ import annotations

import random
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from paho.mqtt.enums import MQTTProtocolVersion

from claude_gauge.config import BROKER_SCHEMES, Settings
from claude_gauge.errors import GaugeError
from claude_gauge.system.net import trusting
from claude_gauge.system.urls import shown, split

LOCAL_URL = "mqtt://localhost:1883"
EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a broker is and how it is spoken to; holds no secret."""

    host: str
    port: int
    tls: bool = False
    websocket_path: str | None = None
    user: str | None = None

    @property
    def place(self) -> str:
        """The broker's host and port, as messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def url_of(settings: Settings) -> str:
    """Return the URL of the settings' broker: one on this machine unless another is named."""
    if settings.broker is None or settings.broker == EMBEDDED:
        return LOCAL_URL
    if settings.password is not None and parse(settings.broker).user is None:
        raise GaugeError(f"broker {shown(settings.broker)}: a password but no user; write it as mqtt://USER@host")
    return settings.broker


def parse(url: str) -> Endpoint:
    """Take a broker's URL apart; raises GaugeError for one that names no broker."""
    try:
        parts = split(url)
    except ValueError:
        raise GaugeError("the broker's URL can't be read; write it as mqtt://host:1883") from None
    if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
        raise GaugeError("what names the broker is no URL of one; write it as mqtt://host:1883")
    path = None
    if parts.scheme in {"ws", "wss"}:
        path = (parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(
        host=parts.hostname,
        port=parts.port or BROKER_SCHEMES[parts.scheme],
        tls=parts.scheme in {"mqtts", "wss"},
        websocket_path=path,
        user=unquote(parts.username) if parts.username else None,
    )


LOOK_S = 2.0


class Trust:
    """Makes the TLS context from the settings' files, again whenever one of them was renewed."""

    def __init__(self, settings: Settings) -> None:
        self._ca, self._cert, self._key = (
            path.expanduser() if path else None
            for path in (settings.broker_ca, settings.broker_cert, settings.broker_key)
        )
        self._made: tuple[object, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context; raises GaugeError naming a file that can't be used."""
        stamps = tuple(_stamp(path) for path in (self._ca, self._cert, self._key))
        if self._made is None or self._made[0] != stamps:
            self._made = stamps, self._make()
        return self._made[1]

    def _make(self) -> ssl.SSLContext:
        try:
            context = trusting(self._ca)
        except OSError as error:
            raise GaugeError(f"broker_ca: {self._ca} is no readable CA certificate ({_why(error)})") from None
        if self._cert:
            try:
                context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
            except OSError as error:
                raise GaugeError(f"broker_cert: {self._cert} and its key can't be used ({_why(error)})") from None
        return context


def speaks_tls(endpoint: Endpoint) -> bool:
    """Return whether TLS is spoken at a port where we came without it; certificates do not matter here."""
    return bool(_certificate(endpoint))


def names_of(endpoint: Endpoint) -> tuple[str, ...]:
    """List the host names and addresses that a broker's certificate is for; empty where it can't be read."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and needed only when something is wrong

    try:
        shown = x509.load_der_x509_certificate(_certificate(endpoint))
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))
    except (ValueError, x509.ExtensionNotFound):
        return ()


def _certificate(endpoint: Endpoint) -> bytes:
    """Return the certificate that is shown there, unchecked; empty where none is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        raw = socket.create_connection((endpoint.host, endpoint.port), LOOK_S)
        with context.wrap_socket(raw, server_hostname=endpoint.host) as wrapped:  # closes the other in any case
            return wrapped.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def _no_passphrase() -> str:
    """Answer for OpenSSL, which would else ask at the terminal."""
    return ""


def _stamp(path: Path | None) -> int | None:
    try:
        return path.stat().st_mtime_ns if path else None
    except OSError:
        return None


def _why(error: OSError) -> str:
    return error.strerror or str(error) or error.__class__.__name__


FIVE, THREE = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
NAMES = {FIVE: "MQTT 5", THREE: "MQTT 3.1.1"}
SURE = 2  # a broker may close one connection silently for other reasons
REPLACED = 6  # silent refusals after which a broker that spoke MQTT 5 may be another one at the same place


@dataclass
class Versions:
    """Remembers which version this broker speaks."""

    doubts: int = 0
    next: MQTTProtocolVersion = FIVE
    proven: bool = False
    silent: int = 0  # refusals of a proven broker, one after the other

    @property
    def in_doubt(self) -> bool:
        """Whether the next attempt may meet a broker that does not understand it."""
        return self.next == FIVE and not self.proven

    def spoken(self, version: MQTTProtocolVersion) -> None:
        """Note that the broker accepted this version."""
        if version == FIVE:
            self.doubts, self.proven, self.silent = 0, True, 0
        self.next = THREE if self.doubts >= SURE else FIVE

    def refused(self, version: MQTTProtocolVersion, *, plainly: bool) -> bool:
        """Note that it did not: `plainly`, or silently; True when 3.1.1 is worth trying at once."""
        self.silent += self.proven
        self.proven = self.proven and self.silent < REPLACED
        if version == THREE or (self.proven and not plainly):
            self.doubts, self.next = 0, FIVE
            return False
        self.doubts = SURE if plainly else self.doubts + 1
        self.next = THREE
        return True


@dataclass
class Backoff:
    """Waits longer after each failure, never for longer than `most_s`, and never in step with other clients."""

    first_s: float = 0.25
    most_s: float = 4.0  # a broker that is back has fresh values within 5 s
    refused_most_s: float = 30.0  # a wrong password is corrected by a person: no hurry
    _step: int = field(default=0, init=False)
    _random: random.Random = field(default_factory=random.Random, init=False)

    def wait_s(self, *, refused: bool) -> float:
        """Return how long to wait before the next attempt."""
        most = self.refused_most_s if refused else self.most_s
        longest = min(most, self.first_s * 2.0**self._step)
        self._step = min(self._step + 1, 16)
        return longest * self._random.uniform(0.5, 1)

    def soon_s(self) -> float:
        """Return how long to wait where the broker is there, and the next attempt shows at what it ends them."""
        return self.first_s * self._random.uniform(0.5, 1)

    def reset(self) -> None:
        """Start with short pauses again, after a connection that held."""
        self._step = 0
