from __future__ import annotations

from collections.abc import Iterator

import pytest

from claude_gauge.outlets.web.shim import Shim


@pytest.fixture
def shim() -> Iterator[Shim]:
    """A shim on a free loopback port, without a payload yet."""
    running = Shim("127.0.0.1:0", lambda: {"broker": "connected"})
    running.start()
    yield running
    running.stop()
