"""Make docs/images/home-assistant.png anew: our dashboard in a real Home Assistant, with one node that works."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.outlets.homeassistant.conftest import BUSY, node
from tests.outlets.homeassistant.test_ready_made import OURS
from tests.support import ROOT
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Mosquitto
from tests.support.page import chromium

from claude_gauge.contract.usage import stamp

DASHBOARD = """
lovelace:
  dashboards:
    claude-gauge: {mode: yaml, filename: claude-gauge.yaml, title: Claude Code, show_in_sidebar: true}
"""
SIZE = {"width": 1300, "height": 750}


def main(path: Path) -> None:
    """Start everything, let the node speak, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        home = RunningHomeAssistant(Path(folder) / "homeassistant", DASHBOARD)
        text = (OURS / "dashboard.yaml").read_text()
        (home.folder / "claude-gauge.yaml").write_text(text.replace("NODE", "studio"))
        with Mosquitto(Path(folder) / "broker") as broker, home:
            home.connect(broker.port)
            with node(broker, "studio") as studio:
                now = time.time()
                figures = {"rate_1m": 834_210.0, "hot": False, "waiting": False, "limit_before_reset": False}
                resets = {"window_5h_resets_at": stamp(now + 5400), "window_7d_resets_at": stamp(now + 3 * 86400)}
                studio.say(BUSY.model_copy(update={**figures, **resets, "sources": {}}))
                home.wait_state(studio.entity("sensor", "rate_1m"), "834000")
                with chromium() as browser:
                    page = browser.new_page(viewport=SIZE, color_scheme="dark")
                    page.set_default_timeout(90_000)
                    page.goto(f"{home.url}/claude-gauge/claude-code")
                    page.wait_for_selector("hui-gauge-card")
                    page.wait_for_timeout(4000)
                    page.screenshot(path=path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "home-assistant.png")
