"""The whole firmware under the real MicroPython against a real Mosquitto: published, then seen at the needles."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.firmware.boards import (
    BLUE,
    DARK,
    DEVICE,
    NODE,
    Sender,
    board,
    fresh,
    hurried,
    linked,
    reported,
    rests,
    shows,
)
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import free_port

from claude_gauge import __version__
from claude_gauge.apps.device.build import version
from claude_gauge.apps.device.virtual_board import VirtualBoard
from claude_gauge.contract.usage import stamp, usage_topic

CRUISE = {
    "rate_1m": 625_000,
    "window_5h_pct": 0.25,
    "thinking_ratio": 0.75,
    "cache_hit_rate": 0.9,
    "idle": False,
    "last_model": "opus",
}
CRUISING = (0.25, 0.5, 0.75, 0.9)


@pytest.fixture
def gauge(broker: Mosquitto, tmp_path: Path) -> Iterator[VirtualBoard]:
    """A board that is connected to the broker."""
    with board(tmp_path / "flash", broker.port) as running:
        linked(running)
        yield running
        assert running.faults == []


@pytest.fixture
def sender(broker: Mosquitto) -> Iterator[Sender]:
    """A publisher of the test's own."""
    with Sender(broker.port) as sending:
        yield sending


def test_published_then_shown(gauge: VirtualBoard, sender: Sender) -> None:
    """What is published is what the needles and lamps show."""
    rests(gauge)
    sender.send(fresh(**CRUISE))

    shows(gauge, *CRUISING)
    assert gauge.lamps == ("400000", DARK, DARK, DARK, DARK)


def test_homed_whatever_stood_where(gauge: VirtualBoard) -> None:
    """Needles that stood anywhere when the power came are exact from the first position on."""
    rests(gauge)

    assert len({pulse.needle for pulse in gauge.pulses}) == 4


def test_retargeted_in_mid_travel(gauge: VirtualBoard, sender: Sender) -> None:
    """Ten payloads in a second leave the needles exactly where the last one says."""
    for share in (0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.95, 0.5):
        sender.send(fresh(**{**CRUISE, "window_5h_pct": share, "updated_at": stamp(time.time())}))
        gauge.wait(partial(_more_pulses, gauge, len(gauge.pulses)), 1)

    shows(gauge, 0.5, 0.5, 0.75, 0.9)


def _more_pulses(gauge: VirtualBoard, than: int) -> bool:
    return len(gauge.pulses) > than


def test_two_boards_on_one_node(gauge: VirtualBoard, broker: Mosquitto, tmp_path: Path, sender: Sender) -> None:
    """Two clusters show the same; neither throws the other out."""
    with board(tmp_path / "second", broker.port, id="ffff") as second:
        linked(second)
        sender.send(fresh(**CRUISE))

        shows(gauge, *CRUISING)
        shows(second, *CRUISING)
        assert sum("link: connected" in line for line in gauge.log) == 1


def test_garbage_is_ignored(gauge: VirtualBoard, sender: Sender) -> None:
    """Garbage on the topic moves nothing, breaks nothing and costs no session."""
    sender.send(fresh(**CRUISE))
    shows(gauge, *CRUISING)
    for bad in (b"{", b"\xff" * 500, b"[" * 2000, b"null", b"", bytes(200_000), b'{"rate_1m": 1}', b"x" * 2300):
        sender.send(bad, retain=False)
    sender.send(b"\xff\xfe", retain=False, topic=f"claude-gauge/{NODE}/status")
    sender.send(fresh(**{**CRUISE, "window_5h_pct": 0.5}))

    shows(gauge, 0.5, 0.5, 0.75, 0.9)
    assert sum("link: connected" in line for line in gauge.log) == 1


def test_oversized_retained_does_not_loop(broker: Mosquitto, tmp_path: Path, sender: Sender) -> None:
    """A huge retained message is dropped, once, and what follows is shown."""
    sender.send(bytes(1_000_000))
    with board(tmp_path / "flash", broker.port, heap="150wK") as gauge:
        assert gauge.wait(lambda: any("too big" in line for line in gauge.log)), gauge.log
        sender.send(fresh(**CRUISE))

        shows(gauge, *CRUISING)
        assert sum("link: connected" in line for line in gauge.log) == 1


def test_broker_killed_and_back_without_its_store(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """A broker that dies takes the link along: STALL flashes; when it is back, so is the picture."""
    with Sender(broker.port) as sender:
        sender.send(fresh(**CRUISE))
        shows(gauge, *CRUISING)
    broker.kill()
    assert gauge.wait(lambda: any("closed" in line or "OSError" in line for line in gauge.log))
    broker.start()
    linked(gauge, 2)
    with Sender(broker.port) as sender:
        sender.send(fresh(**{**CRUISE, "window_5h_pct": 0.75}))

        shows(gauge, 0.75, 0.5, 0.75, 0.9)


def test_broker_restarted_with_its_store(tmp_path: Path) -> None:
    """What a broker's store brings back is shown only while it is young enough."""
    store = tmp_path / "broker"
    lines = ("persistence true", f"persistence_location {store}/", "autosave_interval 1", "autosave_on_changes true")
    with Mosquitto(store, *lines) as broker, board(tmp_path / "flash", broker.port) as gauge:
        linked(gauge)
        with Sender(broker.port) as sender:
            sender.send(fresh(**CRUISE))
            shows(gauge, *CRUISING)
            sender.send(fresh(**CRUISE, updated_at=stamp(time.time() - 600)))
        broker.stop()
        broker.start()
        linked(gauge, 2)

        rests(gauge)


def test_broker_frozen(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """A broker that hangs for eleven seconds costs nothing but that time: the session holds."""
    with Sender(broker.port) as sender:
        sender.send(fresh(**CRUISE))
        shows(gauge, *CRUISING)
        broker.send(signal.SIGSTOP)
        seen = time.monotonic()
        gauge.wait(lambda: time.monotonic() - seen > 11, 20)
        broker.send(signal.SIGCONT)
        sender.send(fresh(**{**CRUISE, "window_5h_pct": 0.5}))

        shows(gauge, 0.5, 0.5, 0.75, 0.9)


def test_publisher_dies(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """A publisher that is cut off leaves its will: needles to rest, STALL."""
    dying = Sender(broker.port, will=True)
    dying.status(b"online")
    dying.send(fresh(**CRUISE))
    shows(gauge, *CRUISING)
    dying.client.loop_stop()
    dying.client.socket().close()  # type: ignore[union-attr]

    rests(gauge)
    assert gauge.lamps[3] == BLUE


def test_old_retained_payload_is_not_shown(broker: Mosquitto, tmp_path: Path, sender: Sender) -> None:
    """A board that starts in front of a payload of yesterday rests until it gets a live one."""
    sender.send(fresh(**CRUISE, updated_at=stamp(time.time() - 86_400)))
    with board(tmp_path / "flash", broker.port) as gauge:
        linked(gauge)
        rests(gauge)
        sender.send(fresh(**CRUISE))

        shows(gauge, *CRUISING)


def test_young_retained_payload_is_shown_at_once(broker: Mosquitto, tmp_path: Path, sender: Sender) -> None:
    """A board that starts in front of a payload of a moment ago shows it without waiting for the next."""
    sender.send(fresh(**CRUISE))
    with board(tmp_path / "flash", broker.port) as gauge:
        shows(gauge, *CRUISING)


def test_silence_is_stale(broker: Mosquitto, tmp_path: Path, sender: Sender) -> None:
    """Without a heartbeat the needles go to rest, though broker and link live."""
    sender.send(fresh(**CRUISE, updated_at=stamp(time.time() - 35)))
    with board(tmp_path / "flash", broker.port) as gauge:
        shows(gauge, *CRUISING)

        rests(gauge)
        assert sum("link: connected" in line for line in gauge.log) == 1


def test_device_tells_of_itself(gauge: VirtualBoard, broker: Mosquitto) -> None:
    """The board has a status with a will, figures of its own, and a place in Home Assistant."""
    with Listener(broker.port) as listener:
        listener.wait(lambda m: m.topic == f"claude-gauge/device/{DEVICE}/status" and m.payload == b"online")
        figures = reported(listener.wait(lambda m: m.topic.endswith("/diagnostics")).payload)
        assert figures["heap"] > 0
        assert figures["sessions"] == 1

        found = listener.wait(lambda m: m.topic == f"homeassistant/device/claude_gauge_device_{DEVICE}/config")
        parts = reported(found.payload)["cmps"]
        assert set(parts) > {
            "heap",
            "rssi",
            "uptime_s",
            "worst_loop_ms",
            "sessions",
            "restart",
            "identify",
            "brightness",
        }
        assert "firmware" not in parts  # a board without a key takes no updates

        gauge.stop()
        listener.wait(lambda m: m.topic == f"claude-gauge/device/{DEVICE}/status" and m.payload == b"offline")


def test_publishers_topic_is_ours(gauge: VirtualBoard) -> None:
    """Board and publisher mean the same topic."""
    assert usage_topic(NODE) == f"claude-gauge/{NODE}/usage"
    assert gauge.running


def test_watchdog_restarts_a_hung_link(broker: Mosquitto, tmp_path: Path) -> None:
    """A link that hangs for good takes the watchdog's food away, though the needles still live: the board restarts."""
    flash = hurried(tmp_path / "flash", "app", ALIVE_MS=3_000)
    link = (flash / "gauge" / "link.py").read_text()
    hung = link.replace("        await self._wifi.join(self._beat)\n", "        await asyncio.sleep(3600)\n")
    assert hung != link
    (flash / "gauge" / "link.py").write_text(hung)
    with board(flash, broker.port, watchdog_ms=2000) as gauge:
        assert gauge.wait(lambda: gauge.starts == 2), gauge.log


def test_watchdog_leaves_a_patient_board_alone(tmp_path: Path) -> None:
    """A board without Wi-Fi and broker waits for hours if need be: that is no reason for a restart."""
    with board(tmp_path / "flash", free_port(), watchdog_ms=1500, wifi={"ssid": "home"}) as gauge:
        assert not gauge.wait(lambda: gauge.starts > 1, 8), gauge.log
        assert gauge.running


def test_firmware_has_the_packages_version() -> None:
    """Firmware and package are released together."""
    assert version() == __version__
