"""A broker's URL, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from claude_gauge.config import BROKER_SCHEMES, Settings
from claude_gauge.errors import GaugeError

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
        raise GaugeError(f"broker {settings.broker}: a password but no user; write it as mqtt://USER@host")
    return settings.broker


def parse(url: str) -> Endpoint:
    """Take a broker's URL apart; raises GaugeError for one that names no broker."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise GaugeError("the broker's URL can't be read; write it as mqtt://host:1883") from None
    if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
        raise GaugeError("what names the broker is no URL of one; write it as mqtt://host:1883")
    path = None
    if parts.scheme in {"ws", "wss"}:
        path = (parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(
        host=parts.hostname,
        port=port or BROKER_SCHEMES[parts.scheme],
        tls=parts.scheme in {"mqtts", "wss"},
        websocket_path=path,
        user=unquote(parts.username) if parts.username else None,
    )
