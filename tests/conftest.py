"""Fixtures that many tests share: a real broker, a folder of Claude Code's, a home folder of the test's own."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.support import parts  # noqa: F401 - completes PATH
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.publisher import environment
from tests.support.transcripts import ClaudeHome

# A busy machine is slow without being wrong.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

LONGEST_ID = 200

# Begun in the background of a script, or by nohup, we are deaf to Ctrl-C or to a closed terminal, and so would be all
# that the tests start: what is handled here is not ignored there.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long; then mix the folders, so that tests that wait run beside tests that compute."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    sizes = Counter(item.path.parent for item in items)
    seen: Counter[Path] = Counter()
    place = {}
    for item in items:
        folder = item.path.parent
        seen[folder] += 1
        place[item] = item.get_closest_marker("long") is None, seen[folder] / sizes[folder]
    items.sort(key=place.__getitem__)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what is too long to read by its length: whole, it would travel to every process with each report."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{argname} of {len(val)}"
    return None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a pytest with which pytest-xdist silently runs groups apart: each test would start a Home Assistant."""
    if session.config.getoption("loadgroup", default=False):
        apart = [
            item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
        ]
        assert not apart, f"pytest-xdist does not know these groups (pytest {pytest.__version__}): {apart[:3]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests took with `record_property("figure", …)`, whichever process they ran in."""
    passed = terminalreporter.getreports("passed")
    for figure in [str(text) for report in passed for name, text in report.user_properties if name == "figure"]:
        terminalreporter.write_line(figure)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real Mosquitto of this test's own, anonymous, without a store."""
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """A client that subscribes to all topics of ours at this test's broker."""
    with Listener(broker.port, "claude-gauge/#") as running:
        yield running


@pytest.fixture
def claude(tmp_path: Path) -> ClaudeHome:
    """A config folder of Claude Code's, of this test's own."""
    return ClaudeHome(tmp_path / "claude")


@pytest.fixture
def env(claude: ClaudeHome, tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """An environment that leads nowhere but to this test's own folders and broker."""
    return environment(
        claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_NODE="test", CLAUDE_GAUGE_HTTP="off"
    )


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever reads the home folder, the settings or the state of the person who runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
