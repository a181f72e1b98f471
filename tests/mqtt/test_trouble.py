from __future__ import annotations

import socket
import ssl

import pytest
from paho.mqtt.client import WebsocketConnectionError

from claude_gauge.mqtt.endpoint import Endpoint
from claude_gauge.mqtt.trouble import failure, handshake, refusal

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
    """Each failure is told in words that follow the broker's name, without secrets."""
    said = failure(error, HERE)

    assert words in said
    assert "canary" not in said


@pytest.mark.parametrize(("text", "words"), [
    ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)", "wants a client"),
    ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure (_ssl.c:1006)", "wants a client"),
    ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", "does not accept our client certificate"),
    ("[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1006)", "does not speak TLS"),
    ("[SSL: NO_PROTOCOLS_AVAILABLE] no protocols available (_ssl.c:1006)", "handshake (no protocols available)"),
])  # fmt: skip
def test_openssl_in_words(text: str, words: str) -> None:
    """What OpenSSL says of the other side becomes something to do."""
    assert words in handshake(text)


@pytest.mark.parametrize(("reason", "words"), [
    ("Bad user name or password", "CLAUDE_GAUGE_BROKER_PASSWORD"),
    ("Not authorized", "give user and password"),
    ("Quota exceeded", "refuses: quota exceeded"),
])  # fmt: skip
def test_refusals(reason: str, words: str) -> None:
    """A broker's own reason is put in words; one that we do not know is repeated."""
    assert words in refusal(reason)
