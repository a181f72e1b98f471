"""A board that does not know the time, as after every power-on, and how it learns it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.firmware.boards import Sender, config, linked, rests, shows
from tests.support.mosquitto import Mosquitto
from tests.support.parts import part
from tests.support.payloads import at_rest as usage

from claude_gauge.apps.device.files import folder
from claude_gauge.apps.device.virtual_board import VirtualBoard

NOON_S = 1_795_435_200
NTP_EPOCH_S = 2_208_988_800


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The virtual board's clock begins at zero; only CPython lets itself be told so."""
    monkeypatch.setenv("GAUGE_NO_CLOCK", "1")


def clockless(flash: Path, port: int) -> VirtualBoard:
    """Return a board without a time server."""
    return VirtualBoard(flash, config(port), [sys.executable])


def test_retained_payload_waits_for_a_live_one(broker: Mosquitto, tmp_path: Path) -> None:
    """Without the time no retained payload is believed; a live one is, and sets the clock."""
    with Sender(broker.port) as sender:
        sender.send(usage(window_5h_pct=0.5))
        with clockless(tmp_path / "flash", broker.port) as gauge:
            linked(gauge)
            rests(gauge)
            assert not gauge.clock
            sender.send(usage(window_5h_pct=0.25, updated_at="0001-01-01T00:00:00.000Z"))
            shows(gauge, 0.25, 0, 0, 0)
            assert not gauge.clock
            sender.send(usage(window_5h_pct=0.75, updated_at="2026-11-23T12:00:15.000Z"))
            shows(gauge, 0.75, 0, 0, 0)

            assert gauge.clock == (2026, 11, 23, 12, 0, 15)


@contextmanager
def time_server(seconds: int) -> Iterator[int]:
    """Answer every question for the time, and yield the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            try:
                _, asker = server.recvfrom(64)
                server.sendto(b"\x1c\x02" + bytes(38) + (seconds + NTP_EPOCH_S).to_bytes(4, "big") + bytes(4), asker)
            except OSError:
                return

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def test_time_server(tmp_path: Path) -> None:
    """A time server is asked on the wire, and its answer is the time."""
    code = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); from gauge import ntp; print(asyncio.run(ntp.ask(*A)))"
    )
    with time_server(NOON_S) as port:
        command = [
            str(part("micropython/micropython")),
            "-c",
            code.replace("*A", f"'127.0.0.1', {port}"),
            str(folder()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path)

    assert done.stdout.strip() == str(NOON_S)
