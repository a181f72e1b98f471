"""The bridge of docs/fleet.md, between two real brokers."""

from __future__ import annotations

import re
from pathlib import Path

from tests.apps.fleet.test_app import fleet, payload, totals
from tests.support import ROOT
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.swarm import Swarm

GUIDE = ROOT / "docs" / "fleet.md"
SECRETS = ("bridge_cafile", "remote_", "bridge_insecure")  # these brokers let everyone in, without TLS


def bridge(port: int) -> list[str]:
    """The guide's lines, for a broker on this machine without TLS and passwords."""
    block = re.findall(r"```conf\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    lines = [line for line in block.splitlines() if not line.startswith(SECRETS)]
    return [f"address 127.0.0.1:{port}" if line.startswith("address") else line for line in lines]


def test_site_and_centre(broker: Mosquitto, tmp_path: Path) -> None:
    """A site's node is merged at the centre, and the merged payload comes back to the site, once."""
    with (
        Mosquitto(tmp_path / "site", *bridge(broker.port)) as site,
        Listener(site.port, "claude-gauge/all/usage") as reader,
        fleet(broker, tmp_path / "state"),
        Swarm(site.port, 1) as nodes,
        Swarm(broker.port, 1) as others,
    ):
        nodes.say("n0", "claude-gauge/berlin/usage", payload(rate_1m=10))
        reader.wait(totals(10))
        others.say("n0", "claude-gauge/centre/usage", payload(rate_1m=5))
        reader.wait(totals(15))

        assert len({m.payload for m in reader.messages}) == len(reader.messages)


def test_site_cut_off(broker: Mosquitto, tmp_path: Path) -> None:
    """A site that was cut off is merged again when it is back."""
    site = Mosquitto(tmp_path / "site", *bridge(broker.port), "restart_timeout 1")
    with site, Listener(broker.port, "claude-gauge/all/usage") as reader, fleet(broker, tmp_path / "state"):
        with Swarm(site.port, 1) as nodes:
            nodes.say("n0", "claude-gauge/berlin/usage", payload(rate_1m=10))
            reader.wait(totals(10))
        site.kill()
        site.start()
        with Swarm(site.port, 1) as nodes:
            nodes.say("n0", "claude-gauge/berlin/usage", payload(rate_1m=20))

            reader.wait(totals(20))
