"""Describes why a broker can't be used or refuses something, with advice; logged once per change, without secrets."""

from __future__ import annotations

import logging
import re
import socket
import ssl
from dataclasses import dataclass

from paho.mqtt.client import WebsocketConnectionError

from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.system.plain_text import harmless

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reason:
    """What is wrong, in words that follow the broker's name, and what to do about it."""

    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}" if self.advice else self.what

    def by(self, place: str) -> Reason:
        """Put the broker's name before it."""
        return Reason(f"broker {place} {self.what}", self.advice)


FINE = Reason("")
CLOSED = Reason("closed the connection")
CLOSED_UNHEARD = Reason(
    "closed the connection before it let us in", "is it an MQTT broker? for websockets write ws:// or wss://"
)
CLOSED_AT_TLS = Reason(
    "closed the connection at the TLS handshake",
    "if it does not speak TLS there write mqtt:// or ws://",
)
# A broker that wants a client certificate looks at it after our side of the handshake; that it does not like what it
# was shown is lost where its end of the connection overtakes it.
CLOSED_AFTER_TLS = Reason(
    CLOSED_UNHEARD.what,
    "it may want a client certificate that it trusts (broker_cert, broker_key), or wss://, or it is no MQTT broker",
)
SILENT = Reason("fell silent")
GARBLED = Reason("sends what is no MQTT", "look at its log, and at what stands between")
MUTE = Reason("does not answer", "is it a broker, or does a firewall stand between?")
NO_ACKS = Reason("acknowledges nothing")
PLAIN_AT_TLS = Reason("speaks TLS there", "write mqtts:// or wss://")
NO_TLS = Reason("does not speak TLS there", "write mqtt:// or ws://, or name its TLS port")
NOT_KEPT = Reason(
    "keeps no retained messages",
    "who subscribes later sees nothing before the next payload comes; take one that does",
)
NOT_ALLOWED = "Not authorized"
_PASSWORD = "CLAUDE_GAUGE_BROKER_PASSWORD or --broker-password-file"  # noqa: S105 - where a password is written
_REFUSALS = {
    "Banned": Reason("has banned this client", "ask who runs it"),
    "Client identifier not valid": Reason(
        "refuses our client id", "allow ids that begin with `gauge-` in the broker's policy"
    ),
    "Bad authentication method": Reason("wants another way to sign in than user and password", "ask who runs it"),
    "Quota exceeded": Reason("says that its quota is exceeded", "ask who runs it how much it takes"),
    "Server busy": Reason("is busy"),
    "Server unavailable": Reason("says that it is unavailable"),
    "Server shutting down": Reason("is shutting down"),
    "Session taken over": Reason("let another client with our client id take over"),
    "Keep alive timeout": Reason("received nothing from us for too long"),
    "Retain not supported": NOT_KEPT,
    "QoS not supported": Reason("does not take QoS 1", "take another broker"),
    "Packet too large": Reason("refuses a message of this size", "raise its limit"),
}
_MOVES = {"Use another server": "sends us to another server", "Server moved": "has moved"}
# With these a broker ends a connection for reasons of its own; with any other, at something that we asked for.
NOT_AT_A_REQUEST = frozenset({
    "Normal disconnection", "Server busy", "Server shutting down", "Keep alive timeout", "Session taken over",
    "Message rate too high", "Quota exceeded", "Administrative action", "Use another server", "Server moved",
    "Connection rate exceeded", "Maximum connect time",
})  # fmt: skip

LONGEST_PLACE = 100  # of what a broker says, in letters
MOST_LARGE = 64  # topics that the log names for their size
Asked = tuple[bool, str]  # whether it is a subscription, and the topic or the filter


def refusal(reason: str, user: str | None = None, *, with_password: bool = False, other: str = "") -> Reason:
    """Return the sentence for a broker's reason code; `user` and whether a password was given decide the advice.

    `other` is the server that it named in its own place.
    """
    if reason in {"Bad user name or password", NOT_ALLOWED}:
        if user is None:
            return Reason("lets nobody in without a user", f"write mqtt://USER@host, its password in {_PASSWORD}")
        if not with_password:
            return Reason(f"refuses user {user} without a password", f"give it in {_PASSWORD}")
        if reason == NOT_ALLOWED:
            advice = f"check both (password: {_PASSWORD}), and that this user may connect"
            return Reason(f"does not let user {user} in with this password", advice)
        return Reason(f"refuses user {user} or this password", f"check both (password: {_PASSWORD})")
    return _moved(reason, other) or _REFUSALS.get(reason, Reason(f"refuses: {reason.lower()}"))


def farewell(reason: str, other: str = "") -> Reason:
    """Return the sentence for the reason with which a broker ended a connection; `other` as above."""
    if reason == NOT_ALLOWED:
        return Reason("ended the connection at something that is not allowed", "check its ACL")
    return _moved(reason, other) or _REFUSALS.get(reason, Reason(f"ended the connection: {reason.lower()}"))


def _moved(reason: str, other: str) -> Reason | None:
    """Return the sentence of a broker that names another one, or says that there is one."""
    if reason not in _MOVES:
        return None
    if not other:
        return Reason(_MOVES[reason], "ask who runs it for its new address (--broker)")
    place = harmless(other)[:LONGEST_PLACE]
    return Reason(f"{_MOVES[reason]}, {place}", "if you trust it name that one (--broker)")


def failure(error: BaseException, endpoint: Endpoint) -> Reason:  # noqa: PLR0911 - one line per trouble reads best
    """Return the sentence, without the broker's name, for an error while connecting."""
    match error:
        case socket.gaierror():
            return Reason("is unknown: no address for the host " + endpoint.host, "check the host's name")
        case ssl.SSLCertVerificationError():
            return certificate(error.verify_message, endpoint.host)
        case ssl.SSLError():
            return handshake(str(error))
        case WebsocketConnectionError():
            path = str(endpoint.websocket_path).partition("?")[0]
            return Reason(f"answers, but not as an MQTT websocket at {path}", "check port and path")
        case ConnectionRefusedError():
            return Reason("refuses the connection: nothing listens there", "start it, or check the port")
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return CLOSED_AT_TLS if endpoint.tls else CLOSED_UNHEARD
        case TimeoutError():
            return MUTE
        case OSError():
            return Reason(f"can't be reached: {_lower(error.strerror or str(error) or error.__class__.__name__)}")
    return Reason(f"can't be used: {error.__class__.__name__}")


def certificate(complaint: str, host: str, names: tuple[str, ...] = ()) -> Reason:
    """Return why a broker's certificate is not accepted; `names` are those that it is for, where available."""
    lower = complaint.lower()
    if "mismatch" in lower:
        only = f", only for {', '.join(names)}" if names else ""
        return Reason(
            f"shows a certificate that is not accepted: it is not for {host}{only}",
            "use a name that it has, or have one made for this name",
        )
    if "expired" in lower:
        return Reason(
            "shows a certificate that is not accepted: it has expired", "renew it, or check this machine's clock"
        )
    if "not yet valid" in lower:
        return Reason(
            "shows a certificate that is not accepted: it is not valid yet", "check this machine's clock, and its own"
        )
    return Reason(f"shows a certificate that is not accepted ({_lower(complaint)})", "name its CA (broker_ca)")


def handshake(text: str, *, over: bool = False) -> Reason:
    """Return the sentence for OpenSSL's error about the broker; `over`: our side of the handshake was complete."""
    lower = text.lower()
    if "certificate required" in lower or "handshake failure" in lower:
        return Reason("wants a client certificate", "name one (broker_cert, broker_key)")
    if "alert" in lower and ("certificate" in lower or "unknown ca" in lower):
        return Reason("does not accept our client certificate", "have one signed by a CA that it trusts (broker_cert)")
    if "wrong version" in lower or "record layer" in lower:
        return NO_TLS
    if "eof occurred" in lower:
        return CLOSED_AFTER_TLS if over else CLOSED_AT_TLS
    return Reason(f"fails the TLS handshake ({text.rpartition(']')[2].partition('(_ssl')[0].strip().lower() or lower})")


def not_taken(what: str, refused: str) -> Reason:
    """Return the sentence for a refused topic or filter, with the broker's own reason."""
    if refused == "Unspecified error":  # MQTT 3.1.1 has one code for all refusals of a subscription
        return Reason(what, "check its ACL")
    return Reason(f"{what}: {_lower(refused)}", "check its ACL" if refused == NOT_ALLOWED else "")


def _lower(text: str) -> str:
    return re.sub(r"^[A-Z](?=[a-z ])", lambda first: first[0].lower(), text)


class Report:
    """Logs the broker's state: each message once until it changes; `quiet`: another link says it all."""

    def __init__(self, place: str, *, quiet: bool = False) -> None:
        self.place, self._quiet = place, quiet
        self._away = self._logged = FINE
        self._connection_logged = False
        self._keeps = True
        self._refused: dict[Asked, Reason] = {}
        self._large: set[str] = set()  # topics
        self._rival = FINE

    @property
    def reason(self) -> Reason:
        """Why the broker is away or does not take something, or that we are not alone; else `FINE`."""
        reasons = (self._away, *list(self._refused.values()), self._rival)
        return next((each for each in reasons if each.what), FINE)

    def connected(self, version: str) -> None:
        """Log that the broker let us in; once, where connections come and go."""
        self._away = FINE
        self._log(
            logging.DEBUG if self._connection_logged else logging.INFO,
            "connected to broker %s (%s)",
            self.place,
            version,
        )
        self._connection_logged = True

    def keeps(self, *, retained: bool) -> None:
        """Log that the broker keeps no retained messages; once."""
        if not retained and self._keeps:
            self._log(logging.WARNING, "%s", NOT_KEPT.by(self.place))
        self._keeps = retained

    def away(self, why: Reason) -> None:
        """Log why the broker can't be used at present."""
        reason = why.by(self.place)
        if reason != self._away:
            self._away = reason
            self._log(logging.DEBUG if reason == self._logged else logging.WARNING, "%s; trying again", reason)
            self._connection_logged = self._connection_logged and reason == self._logged
            self._logged = reason

    def held(self) -> None:
        """Note that a connection has lasted: the next failure is logged again."""
        self._logged, self._connection_logged = FINE, False

    def refused(self, asked: Asked, why: Reason) -> None:
        """Log that the broker refuses this topic or filter, but not all."""
        if asked not in self._refused:
            reason = why.by(self.place)
            self._refused[asked] = reason
            self._log(logging.WARNING, "%s", reason)

    def taken(self, asked: Asked) -> None:
        """Note that the broker took the message, or granted the subscription."""
        self._refused.pop(asked, None)

    def refusal(self, asked: Asked) -> Reason:
        """Return why the broker refuses this topic or filter; `FINE` where it did not."""
        return self._refused.get(asked, FINE)

    def large(self, topic: str, size: int) -> None:
        """Log that a message was too large to be read, once for a topic."""
        if topic not in self._large and len(self._large) < MOST_LARGE:
            self._large.add(topic)
            self._log(
                logging.WARNING, "broker %s sends %s bytes on %r: too much to be read", self.place, f"{size:,}", topic
            )

    def rival(self, topic: str, *, there: bool) -> None:
        """Log that another publisher writes to our topics, or no longer does."""
        if there and not self._rival.what:
            self._rival = Reason(
                f"another publisher writes to our topics {topic}", "give one of the two another --node"
            )
            self._log(logging.WARNING, "%s", self._rival)
        elif self._rival.what and not there:
            self._rival = FINE
            self._log(logging.INFO, "the other publisher on %s is gone", topic)

    def _log(self, level: int, message: str, *values: object) -> None:
        log.log(logging.DEBUG if self._quiet else level, message, *values)
