"""A board that does not know the time, as after every power-on, and how it learns it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.firmware.boards import Sender, board, config, installed, linked, micropython, rests, shows
from tests.support.mosquitto import Mosquitto
from tests.support.net import PATIENCE_S
from tests.support.parts import part
from tests.support.payloads import at_rest as usage

from claude_gauge.apps.broker.certificates import issue, make_ca
from claude_gauge.apps.device.build import folder
from claude_gauge.apps.device.virtual_board import VirtualBoard

NOON_S = 1_795_435_200
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("libfaketime.so.1"))
NTP_EPOCH_S = 2_208_988_800


@pytest.fixture
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The virtual board's clock begins at zero; only CPython can be set so."""
    monkeypatch.setenv("GAUGE_NO_CLOCK", "1")


def clockless(flash: Path, port: int) -> VirtualBoard:
    """Return a board without a time server."""
    return VirtualBoard(flash, config(port), [sys.executable])


@pytest.mark.usefixtures("_no_clock")
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


def settable(clock: Path) -> list[str]:
    """Return a command for the real MicroPython whose clock, kept in a file, the firmware can set."""
    clock.write_text("@2000-01-01 00:00:00\n")
    faked = {"FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": 1, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    return ["env", *(f"{name}={value}" for name, value in faked.items()), f"LD_PRELOAD={FAKETIME}", *micropython()]


class Secured:
    """A broker with a certificate of a moment ago, and a board that knows its CA and begins in the year 2000."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        authority = make_ca("test", now)
        pair = issue(authority, "broker", now, hosts=["localhost"])
        for name, content in (("b.crt", pair.certificate), ("b.key", pair.key)):
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o644)
        self.flash = folder / "flash"
        self.flash.mkdir()
        (self.flash / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(authority.certificate.decode()))
        self.broker = Mosquitto(folder / "broker", f"certfile {folder}/b.crt", f"keyfile {folder}/b.key")
        self.clock = folder / "clock"

    def board(self, **changes: object) -> VirtualBoard:
        """Return the board, under the real MicroPython whose clock the firmware can set."""
        command = settable(self.clock)
        secure = {"host": "localhost", "ca": "ca.der"}
        return VirtualBoard(self.flash, config(self.broker.port, broker=secure, watchdog_ms=0, **changes), command)


def test_tls_without_a_clock(tmp_path: Path) -> None:
    """A board without a time server starts at the time of its installation: TLS connects."""
    secured = Secured(tmp_path)
    with secured.broker, secured.board(utc_floor=int(time.time()) + 1) as gauge:
        linked(gauge)

        assert gauge.clock[:2] >= (2026, 11)


def test_tls_without_a_clock_after_a_year(tmp_path: Path) -> None:
    """The newest time that it ever knew is kept, and counts where the installation's is too old for the certificate."""
    secured = Secured(tmp_path)
    board = secured.board(utc_floor=1_795_000_001)
    (secured.flash / "known.json").write_text(json.dumps({"utc": int(time.time()) + 1}))
    with secured.broker, board as gauge:
        linked(gauge)


def test_tls_with_no_time_at_all_says_why(tmp_path: Path) -> None:
    """Without any time the certificate starts in the future, and the board says where to look."""
    secured = Secured(tmp_path)
    with secured.broker, secured.board() as gauge:
        assert gauge.wait(lambda: any("is the board's time right?" in line for line in gauge.log)), gauge.log


def test_known_time_is_kept(broker: Mosquitto, tmp_path: Path) -> None:
    """A board that was given the time notes it in its flash, once."""
    with board(tmp_path / "flash", broker.port) as gauge:
        linked(gauge)
        known = gauge.flash / "known.json"
        assert gauge.wait(lambda: known.exists() and {"utc", "reached"} <= set(json.loads(known.read_text())))
        written = known.stat().st_mtime_ns
        assert abs(json.loads(known.read_text())["utc"] - time.time()) < 60
        gauge.wait(lambda: False, 2)

        assert known.stat().st_mtime_ns == written


def test_the_brokers_host_has_the_time(broker: Mosquitto, tmp_path: Path) -> None:
    """Where the time server that was named does not answer, the broker's host is asked."""
    flash = installed(tmp_path / "flash")
    asking = (flash / "gauge" / "app.py").read_text()
    asked = asking.replace("answer = await ntp.ask(", 'print("asked", host)\n            answer = await ntp.ask(')
    assert asked != asking
    (flash / "gauge" / "app.py").write_text(
        asked.replace("NTP_MS, NTP_AGAIN_MS = 3_600_000", "NTP_MS, NTP_AGAIN_MS = 500")
    )
    with board(flash, broker.port, ntp="127.0.0.2") as gauge:
        linked(gauge)

        assert gauge.wait(lambda: {"asked 127.0.0.2", "asked 127.0.0.1"} <= set(gauge.log)), gauge.log


def test_slow_names_starve_no_watchdog(tmp_path: Path) -> None:
    """With name servers that are dead, look-ups of two names take longer than the watchdog has: it is fed between."""
    flash = installed(tmp_path / "flash")
    source = (flash / "gauge" / "board.py").read_text()
    look_up = "    address: Any = socket.getaddrinfo"
    dead = source.replace(look_up, f'    time.sleep(3)\n    print("asked", host)\n    raise OSError(-202)\n{look_up}')
    assert dead != source
    (flash / "gauge" / "board.py").write_text(dead)
    with board(flash, 1883, broker={"host": "broker.lan"}, ntp="time.lan", watchdog_ms=4500) as gauge:
        assert gauge.wait(lambda: gauge.log.count("asked broker.lan") > 1 and "asked time.lan" in gauge.log), gauge.log
        assert gauge.starts == 1
        assert any("the name is not known" in line for line in gauge.log)


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, cwd=tmp_path)

    assert done.stdout.strip() == str(NOON_S)


def test_payload_of_a_wrong_clock(broker: Mosquitto, tmp_path: Path) -> None:
    """A payload that is years ahead sets the clock until the next one corrects it, and the flash never keeps that."""
    board = VirtualBoard(tmp_path / "flash", config(broker.port, watchdog_ms=0), settable(tmp_path / "clock"))
    known = tmp_path / "flash" / "known.json"
    with Sender(broker.port) as sender, board as gauge:
        linked(gauge)
        for stamp in ("2041-01-01T00:00:00.000Z", "2026-11-28T12:00:15.000Z"):
            sender.send(usage(window_5h_pct=0.25, updated_at=stamp))
            assert gauge.wait(lambda at=stamp[:4]: gauge.clock[:1] == (int(at),))  # type: ignore[misc]
        assert gauge.wait(lambda: "utc" in json.loads(known.read_text()))

    assert NOON_S < json.loads(known.read_text())["utc"] < NOON_S + 7 * 86_400
