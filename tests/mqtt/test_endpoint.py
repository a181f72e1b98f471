from __future__ import annotations

import pytest

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import Endpoint, parse, url_of


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("mqtt://host", Endpoint("host", 1883)),
        ("mqtt://me@host:1884", Endpoint("host", 1884, user="me")),
        ("mqtts://host", Endpoint("host", 8883, tls=True)),
        ("mqtt://[::1]:1883", Endpoint("::1", 1883)),
        ("mqtt://a%40b.c@host", Endpoint("host", 1883, user="a@b.c")),
        ("ws://host", Endpoint("host", 80, websocket_path="/mqtt")),
        ("ws://host:9001/", Endpoint("host", 9001, websocket_path="/")),
        ("wss://host/a/b?c=d", Endpoint("host", 443, tls=True, websocket_path="/a/b?c=d")),
    ],
)
def test_url(url: str, endpoint: Endpoint) -> None:
    """Every scheme has its port, its user and its path."""
    assert parse(url) == endpoint


@pytest.mark.parametrize(
    "url", ["", "host", "http://host", "mqtt://", "mqtt://host:port", "mqtt://host:99999", "embedded"]
)
def test_no_broker_url(url: str) -> None:
    """What names no broker is refused, and the right form reported."""
    with pytest.raises(GaugeError, match="mqtt://host:1883"):
        parse(url)


def test_address_of_version_6_in_messages() -> None:
    """An IPv6 address is bracketed where its port follows."""
    assert parse("mqtt://[::1]").place == "[::1]:1883"


@pytest.mark.parametrize("broker", [None, "embedded"])
def test_local_broker(broker: str | None) -> None:
    """Without a URL the broker is the one of this machine, where a password is not needed."""
    assert url_of(Settings(broker=broker, broker_password="x")) == "mqtt://localhost:1883"
