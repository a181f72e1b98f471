from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext
from tests.support.page import Cluster, chromium

from claude_gauge.contract.scales import as_json
from claude_gauge.outlets.web.shim import Shim


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file of tests."""
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile, dark, without motion: needles are where they belong at once."""
    with browser.new_context(color_scheme="dark", reduced_motion="reduce") as fresh:
        yield fresh


@pytest.fixture
def shim() -> Iterator[Shim]:
    """A shim on a free loopback port, without a payload yet."""
    running = Shim("127.0.0.1:0", dict, scales={**as_json(1_000_000, 0.4), "node": "studio"})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def open_cluster(context: BrowserContext, shim: Shim) -> Callable[..., Cluster]:
    """Open the shim's page in a tab."""
    return lambda query="": Cluster(context, f"http://localhost:{shim.port}/{query}")
