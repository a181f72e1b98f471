"""What a subscriber reads in our payloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.mosquitto import Listener, Received
from tests.support.net import PATIENCE_S

Json = dict[str, Any]


def usage_of(received: Received) -> Json:
    """Return the payload of a usage topic as a mapping; empty for any other message."""
    return dict(json.loads(received.payload)) if received.topic.endswith("/usage") and received.payload else {}


def wait_usage(
    listener: Listener, wanted: Callable[[Json], bool], deadline_s: float = PATIENCE_S, *, after: int = 0
) -> Json:
    """Wait for a payload of which `wanted` is true."""
    return usage_of(
        listener.wait(lambda received: bool(usage_of(received)) and wanted(usage_of(received)), deadline_s, after=after)
    )


def wait_tokens(listener: Listener, tokens: int, deadline_s: float = PATIENCE_S, *, after: int = 0) -> Json:
    """Wait until the block holds just so many tokens."""
    return wait_usage(listener, lambda usage: usage["window_5h_tokens"] == tokens, deadline_s, after=after)
