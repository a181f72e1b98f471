"""200 nodes at 10 Hz through a real Mosquitto into one `claude-gauge fleet`: what it costs and whether a node starves.

python benchmarks/fleet.py [--nodes 200] [--hertz 10] [--seconds 20]; all on loopback, ends by itself.
Every payload adds one token, so a merged sum names the very message that it is up to: that gives the delay.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import wait_until
from tests.support.swarm import Swarm

from claude_gauge.contract.usage import Usage, stamp

REST = Usage(
    rate_1m=0,
    window_5h_tokens=0,
    window_5h_pct=0.5,
    thinking_ratio=0.5,
    cache_hit_rate=0.5,
    last_model="opus",
    hot=False,
    warn=False,
    stall=False,
    idle=False,
    updated_at="",
    fuel_source="plan",
)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Arrivals(Listener):
    """A reader that notes when each merged payload came."""

    def __init__(self, port: int) -> None:
        self.sums: list[tuple[float, int]] = []
        super().__init__(port, "claude-gauge/all/usage")
        self.client.on_message = self._note

    def _note(self, _client: object, _user: object, message: object) -> None:
        at = time.monotonic()
        self.sums.append((at, Usage.model_validate_json(message.payload).window_5h_tokens))  # type: ignore[attr-defined]


def main() -> None:
    """Run the load and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--hertz", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    load = parser.parse_args()
    sent: list[float] = []

    def payload(_name: str, turn: int) -> bytes:
        sent.append(time.monotonic())
        return REST.model_copy(update={"window_5h_tokens": turn + 1, "updated_at": stamp(time.time())}).to_json()

    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder, "broker")) as broker:
        command = [sys.executable, "-m", "claude_gauge", "fleet", "--broker", broker.url, "--state-dir", folder]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as fleet:
            reader = Arrivals(broker.port)
            wait_until(lambda: reader.sums, "the fleet's first payload")
            with Swarm(broker.port, load.nodes) as swarm:
                before, cpu, broker_cpu, memory = (
                    time.monotonic(),
                    cpu_s(fleet.pid),
                    cpu_s(broker.pid),
                    rss_mb(fleet.pid),
                )
                rounds = swarm.run(load.hertz, load.seconds, payload)
                passed = time.monotonic() - before
                cpu, broker_cpu = cpu_s(fleet.pid) - cpu, cpu_s(broker.pid) - broker_cpu
                swarm.read(5)
                total = rounds * load.nodes
                wait_until(lambda: reader.sums[-1][1] == total, f"every node's newest payload in the sum {total}", 10)
                after = rss_mb(fleet.pid)
            fleet.terminate()
            reader.close()
    delays = sorted((at - sent[tokens - 1]) * 1000 for at, tokens in reader.sums if 0 < tokens <= len(sent))
    print(
        f"{load.nodes} nodes, {total / passed:,.0f} payloads/s for {passed:.1f} s, {swarm.acked} of {swarm.sent} acked"
    )
    print(f"merged: {len(delays) / passed:.1f} payloads/s; all {load.nodes} nodes' newest payloads are in the last one")
    print(f"delay: median {statistics.median(delays):.1f} ms, 99 % {delays[int(len(delays) * 0.99)]:.1f} ms")
    print(
        f"fleet: {cpu / passed:.0%} of a core, {memory:.0f} MB before, {after:.0f} MB after;"
        f" broker: {broker_cpu / passed:.0%}"
    )


if __name__ == "__main__":
    main()
