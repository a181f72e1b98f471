"""The TLS side of a connection: whom we trust, and who we are."""

from __future__ import annotations

import ssl
from pathlib import Path

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError


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
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise GaugeError(f"broker_ca: {self._ca} is no readable CA certificate ({_why(error)})") from None
        if self._cert:
            try:
                context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
            except OSError as error:
                raise GaugeError(f"broker_cert: {self._cert} and its key can't be used ({_why(error)})") from None
        return context


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
