from __future__ import annotations

import socket
import ssl

import pytest
from paho.mqtt.client import WebsocketConnectionError

from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.mqtt.trouble import FINE, Reason, Report, certificate, failure, handshake, refusal

HERE = Endpoint("host", 1883, websocket_path="/mqtt?token=canary")


@pytest.mark.parametrize(("error", "words"), [
    (socket.gaierror(-2, "Name or service not known"), "no address for the host host"),
    (ConnectionRefusedError(111, "Connection refused"), "nothing listens there"),
    (ConnectionResetError(104, "Connection reset by peer"), "closed the connection"),
    (BrokenPipeError(32, "Broken pipe"), "closed the connection"),
    (TimeoutError("timed out"), "does not answer"),
    (OSError(101, "Network is unreachable"), "can't be reached: network is unreachable"),
    (OSError("odd"), "can't be reached: odd"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "does not speak TLS"),
    (WebsocketConnectionError("WebSocket handshake error"), "not as an MQTT websocket at /mqtt"),
    (KeyError("x"), "can't be used: KeyError"),
])  # fmt: skip
def test_words(error: Exception, words: str) -> None:
    """Each failure is reported in words that follow the broker's name, without secrets."""
    said = str(failure(error, HERE))

    assert words in said
    assert "canary" not in said


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), ssl.SSLEOFError(8, "EOF occurred in violation")])
def test_closed_at_the_handshake(error: Exception) -> None:
    """A broker that closes at TLS's first words may have opened this port without TLS: what to write then is said."""
    assert "at the TLS handshake: if it does not speak TLS there write mqtt://" in str(
        failure(error, Endpoint("host", 8883, tls=True))
    )


def test_closed_after_the_handshake() -> None:
    """A broker that closes after the handshake does speak TLS: what it may want is a client certificate."""
    assert "it may want a client certificate" in str(
        handshake("EOF occurred in violation of protocol (_ssl.c:2427)", over=True)
    )


@pytest.mark.parametrize(("text", "words"), [
    ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)", "wants a client"),
    ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure (_ssl.c:1006)", "wants a client"),
    ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", "does not accept our client certificate"),
    ("[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1006)", "does not speak TLS"),
    ("[SSL: NO_PROTOCOLS_AVAILABLE] no protocols available (_ssl.c:1006)", "handshake (no protocols available)"),
])  # fmt: skip
def test_openssl_in_words(text: str, words: str) -> None:
    """What OpenSSL says of the other side becomes something to do."""
    assert words in str(handshake(text))


@pytest.mark.parametrize(("reason", "user", "with_password", "words"), [
    ("Not authorized", None, False, "without a user: write mqtt://USER@host"),
    ("Bad user name or password", "me", False, "refuses user me without a password"),
    ("Bad user name or password", "me", True, "refuses user me or this password: check both"),
    ("Not authorized", "me", True, "does not let user me in with this password"),
    ("Client identifier not valid", None, False, "allow ids that begin with `gauge-`"),
    ("Quota exceeded", None, False, "says that its quota is exceeded: ask who runs it"),
    ("Server moved", None, False, "has moved: ask who runs it for its new address"),
    ("Use another server", None, False, "sends us to another server"),
    ("Connection rate exceeded", None, False, "refuses: connection rate exceeded"),
])  # fmt: skip
def test_refusals(reason: str, user: str | None, with_password: bool, words: str) -> None:  # noqa: FBT001
    """A broker's own reason is put in words that depend on what it was given; one that we do not know is repeated."""
    assert words in str(refusal(reason, user, with_password=with_password))


@pytest.mark.parametrize(("complaint", "words"), [
    ("Hostname mismatch, certificate is not valid for 'x'.", "it is not for x, only for a, b: use a name that it has"),
    ("IP address mismatch, certificate is not valid for 'x'.", "it is not for x, only for a, b"),
    ("certificate has expired", "it has expired: renew it"),
    ("certificate is not yet valid", "not valid yet: check this machine's clock"),
    ("self-signed certificate in certificate chain", "name its CA (broker_ca)"),
    ("unable to get local issuer certificate", "name its CA (broker_ca)"),
])  # fmt: skip
def test_certificates(complaint: str, words: str) -> None:
    """Why a certificate is not accepted decides what to do about it."""
    assert words in str(certificate(complaint, "x", ("a", "b")))


def test_report_says_each_thing_once(caplog: pytest.LogCaptureFixture) -> None:
    """What a broker does not take is one line until it takes it; what it does not let us read is another thing."""
    report = Report("host:1883")
    for _ in range(3):
        report.refused((False, "t"), Reason("does not take t"))
        report.refused((True, "t"), Reason("does not let us read t"))
    report.taken((False, "t"))

    assert caplog.text.count("does not take t") == caplog.text.count("does not let us read t") == 1
    assert report.refusal((False, "t")) == FINE
    assert str(report.reason) == "broker host:1883 does not let us read t"
