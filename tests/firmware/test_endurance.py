"""An hour's worth of messages in the heap of a small chip."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.firmware.boards import Sender, board, fresh, linked, shows
from tests.support.mosquitto import Mosquitto

from claude_gauge.apps.device.build import firmware, fixed
from claude_gauge.contract.usage import stamp

MESSAGES = 3600  # one a second for an hour; at ten a second it would be six minutes of full throttle
HEAP = "100wK"  # as far as 100 kB go on a 32-bit chip


def test_an_hour_of_messages_leaves_no_trace(
    broker: Mosquitto, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Thousands of payloads, each with its moves, fit into 100 kB, and what is held does not grow."""
    flash = tmp_path / "flash"
    (flash / "gauge").mkdir(parents=True)
    for path, content in firmware().items():
        (flash / path).write_bytes(content)
    for file in fixed():
        shutil.copy(file, flash)
    with board(flash, broker.port, heap=HEAP) as gauge, Sender(broker.port) as sender:
        linked(gauge)
        assert gauge.wait(lambda: len(gauge.heap) >= 2)
        before = gauge.heap[-1]
        began = time.time()
        for number in range(MESSAGES):
            share = number * 7 % 100 / 100
            payload = fresh(window_5h_pct=share, rate_1m=number * 1000.0, updated_at=stamp(began + number / 1000))
            sender.send(payload, retain=False)
        sender.send(fresh(window_5h_pct=0.5, rate_1m=625_000, updated_at=stamp(began + 10)))
        shows(gauge, 0.5, 0.5, 0, 0)
        seen = len(gauge.heap)
        assert gauge.wait(lambda: len(gauge.heap) >= seen + 2)
        figure = f"heap in use: {before} bytes at first, {gauge.heap[-1]} after {MESSAGES} messages (64-bit words)"
        record_property("figure", "firmware: " + figure)

        assert gauge.heap[-1] < before + 4096
        assert not [line for line in gauge.log if "emory" in line or "Traceback" in line], gauge.log
        assert sum("link: connected" in line for line in gauge.log) == 1
        assert gauge.starts == 1
        assert gauge.faults == []
