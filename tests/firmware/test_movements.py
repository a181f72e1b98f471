"""Every kind of movement under the real MicroPython, pulse by pulse."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.firmware.boards import DARK, Sender, board, fresh, linked, shows
from tests.support.mosquitto import Mosquitto

from claude_gauge.apps.device.virtual_board import VirtualBoard

NAMES = ("fuel", "tach", "temperature", "boost")
HALF = {"window_5h_pct": 0.5, "rate_1m": 625_000, "thinking_ratio": 0.5, "cache_hit_rate": 0.5}
THREE = ([13, 14, 18], [19, 21, 22], [23, 25, 26], [27, 32, 33])
FOUR = ([13, 14, 15, 18], [19, 21, 22, 16], [23, 25, 26, 17], [27, 32, 33, 5])


@pytest.mark.parametrize("pins", [THREE, FOUR], ids=["three outputs", "four outputs"])
def test_direct_drive(broker: Mosquitto, tmp_path: Path, pins: tuple[list[int], ...]) -> None:
    """Movements wired straight to outputs find their stops and their marks, each step at a safe speed."""
    needles = {name: {"pins": own} for name, own in zip(NAMES, pins, strict=True)}
    lamps = {"pins": [4]}
    with (
        board(tmp_path / "flash", broker.port, movement="direct", needles=needles, lamps=lamps) as gauge,
        Sender(broker.port) as sender,
    ):
        linked(gauge)
        sender.send(fresh(**HALF))
        shows(gauge, 0.5, 0.5, 0.5, 0.5)

        for name in NAMES:
            times = [pulse.time_us for pulse in gauge.pulses if pulse.needle == name]
            assert min(after - before for before, after in pairwise(times)) > 2900
        assert gauge.faults == []


KINDS = {
    "quad": ([18, 23], [19, 25], [21, 26], [22, 27]),
    "direct": THREE,
    "voltmeter": ([18], [19], [21], [22]),
    "servo": ([18], [19], [21], [22]),
}


@pytest.fixture(params=KINDS)
def moved(request: pytest.FixtureRequest, broker: Mosquitto, tmp_path: Path) -> Iterator[VirtualBoard]:
    """A connected board with each kind of movement in turn."""
    kind = request.param
    needles = {name: {"pins": own} for name, own in zip(NAMES, KINDS[kind], strict=True)}
    with board(tmp_path / "flash", broker.port, movement=kind, needles=needles, lamps={"pins": [4]}) as gauge:
        linked(gauge)
        yield gauge
        assert gauge.faults == []


def test_each_kind_shows_what_is_published(moved: VirtualBoard, broker: Mosquitto) -> None:
    """Every kind of movement stands where the payload says, also after ten targets in a row, and at the ends."""
    with Sender(broker.port) as sender:
        sender.send(fresh(**{**HALF, "window_5h_pct": 0.2}))
        shows(moved, 0.2, 0.5, 0.5, 0.5)
        for share in (0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.6, 0.95, 0.4):
            sender.send(fresh(**{**HALF, "window_5h_pct": share}))
        shows(moved, 0.4, 0.5, 0.5, 0.5)
        sender.send(fresh(window_5h_pct=1, rate_1m=9e9, thinking_ratio=0, cache_hit_rate=1))
        shows(moved, 1, 1, 0, 1)


def test_each_kind_rests_when_the_publisher_goes(moved: VirtualBoard, broker: Mosquitto) -> None:
    """Every kind of movement goes to its rest, and STALL shines, when the publisher says that it is gone."""
    with Sender(broker.port) as sender:
        sender.send(fresh(**HALF))
        shows(moved, 0.5, 0.5, 0.5, 0.5)
        sender.status(b"offline")

        assert moved.wait(lambda: max(moved.shares()) < 0.001 and moved.lamps[3] != DARK), moved.shares()


def test_voltmeters(broker: Mosquitto, tmp_path: Path) -> None:
    """Voltmeters get the duty cycle of their share, and glide there."""
    needles = {name: {"pins": [pin], "full": 0.9} for name, pin in zip(NAMES, (18, 19, 21, 22), strict=True)}
    with (
        board(tmp_path / "flash", broker.port, movement="voltmeter", needles=needles) as gauge,
        Sender(broker.port) as sender,
    ):
        linked(gauge)
        seen: set[int] = set()
        sender.send(fresh(**HALF))
        wanted = round(0.45 * 65535)

        def arrived() -> bool:
            seen.add(gauge.duties[18])
            return [gauge.duties[pin] for pin in (18, 19, 21, 22)] == [wanted] * 4

        assert gauge.wait(arrived), gauge.duties
        assert len(seen) > 3


def test_servos(broker: Mosquitto, tmp_path: Path) -> None:
    """Servos get the pulse width of their share, also one that runs backwards."""
    pins = (18, 19, 21, 22)
    needles = {name: {"pins": [pin], "reverse": name == "boost"} for name, pin in zip(NAMES, pins, strict=True)}
    with (
        board(tmp_path / "flash", broker.port, movement="servo", needles=needles) as gauge,
        Sender(broker.port) as sender,
    ):
        linked(gauge)
        assert gauge.duties[22] == round(2400 / 20_000 * 65535)
        sender.send(fresh(**{**HALF, "cache_hit_rate": 1}))
        middle, low = round(1500 / 20_000 * 65535), round(600 / 20_000 * 65535)

        assert gauge.wait(lambda: [gauge.duties[pin] for pin in pins] == [middle, middle, middle, low]), gauge.duties


def test_plain_leds(broker: Mosquitto, tmp_path: Path) -> None:
    """Lamps may be plain LEDs on seven outputs."""
    pins = [4, 13, 14, 16, 17, 32, 33]
    lamps = {"kind": "leds", "pins": pins, "brightness": 1.0}
    with (
        board(tmp_path / "flash", broker.port, lamps=lamps, reset_pin=-1) as gauge,
        Sender(broker.port) as sender,
    ):
        linked(gauge)
        sender.send(fresh(last_model="haiku", hot=True, idle=False))

        assert gauge.wait(lambda: [gauge.duties[pin] for pin in pins] == [0, 65535, 0, 65535, 0, 0, 0]), gauge.duties


def test_reversed_wiring(broker: Mosquitto, tmp_path: Path) -> None:
    """A movement whose direction is wired the other way round is reported so, and goes the other way."""
    with board(tmp_path / "flash", broker.port, needles={"fuel": {"reverse": True}}) as gauge:
        linked(gauge)

        assert gauge.wait(lambda: gauge.shares()[0] > 1), gauge.shares()


def test_sweep_at_power_on(broker: Mosquitto, tmp_path: Path) -> None:
    """At power-on every needle finds its stop, shows its whole scale once, and rests."""
    with board(tmp_path / "flash", broker.port, sweep=True) as gauge:
        top_of_scale, tops = 3480, dict[str, int]()

        def swept() -> bool:
            for pulse in gauge.pulses[:]:
                if pulse.way > 0:
                    tops[pulse.needle] = max(tops.get(pulse.needle, 0), pulse.position)
            whole = len(tops) == 4 and min(tops.values()) >= top_of_scale
            return whole and gauge.shares() == [pytest.approx(-20 / 270, abs=0.001)] * 4

        assert gauge.wait(swept), gauge.shares()
        assert list(tops.values()) == [top_of_scale] * 4


def test_every_pulse_is_safe(broker: Mosquitto, tmp_path: Path) -> None:
    """However it is driven, no pulse comes quicker after the one before than the ramp allows."""
    with board(tmp_path / "flash", broker.port) as gauge, Sender(broker.port) as sender:
        linked(gauge)
        for share in (1.0, 0.0, 0.7, 0.71, 0.1):
            sender.send(fresh(window_5h_pct=share))
            gauge.wait(lambda: False, 0.4)
        shows(gauge, 0.1, 0, 0, 0)
        pulses = [pulse for pulse in gauge.pulses if pulse.needle == "fuel"]
        gaps = [(after.time_us - before.time_us, before.way, after.way) for before, after in pairwise(pulses)]

        assert min(gap for gap, _, _ in gaps) >= 375
        assert min(gap for gap, before, after in gaps if before != after) >= 740
