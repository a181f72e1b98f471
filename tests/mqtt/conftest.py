"""Links that are stopped when their test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from claude_gauge.config import Settings
from claude_gauge.mqtt.endpoint import FIVE, SURE, Versions
from claude_gauge.mqtt.link import Link

STATUS, USAGE = "claude-gauge/here/status", "claude-gauge/here/usage"

Connect = Callable[..., Link]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Starts publishing links of the node `here`; keywords are settings."""
    links: list[Link] = []

    def make(
        url: str,
        *,
        status: str | None = STATUS,
        version: MQTTProtocolVersion = FIVE,
        **settings: Any,  # noqa: ANN401 - any setting
    ) -> Link:
        link = Link(Settings(broker=url, **settings), status=status)
        link._versions = Versions(doubts=0 if version == FIVE else SURE, next=version)
        links.append(link)
        link.start()
        return link

    yield make
    for link in links:
        link.stop()
