"""The TLS side of a connection: whom we trust, and who we are."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.system.net import trusting

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
        if (
            self._ca
        ):  # from Python 3.13 on a home-made CA without keyUsage is refused, though it was named by the person
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self._cert:
            try:
                context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
            except OSError as error:
                raise GaugeError(f"broker_cert: {self._cert} and its key can't be used ({_why(error)})") from None
        return context


def speaks_tls(endpoint: Endpoint) -> bool:
    """Tell whether TLS is spoken at a port where we came without it; certificates do not matter here."""
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
