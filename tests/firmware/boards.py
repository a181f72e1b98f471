"""Virtual boards for the tests, and what is published to them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.support.net import PATIENCE_S
from tests.support.parts import part
from tests.support.payloads import at_rest as usage

from claude_gauge.apps.device.build import fixed, modules
from claude_gauge.apps.device.settings import merged
from claude_gauge.apps.device.virtual_board import VirtualBoard
from claude_gauge.contract.usage import Usage, stamp, status_topic, usage_topic

NODE = "desk"
DEVICE = "0a0b0c"
BLUE, DARK = "000a40", "000000"


def micropython(heap: str | None = None) -> list[str]:
    """Return the command that runs MicroPython, with a heap of so many bytes if that is to be short."""
    return [str(part("micropython/micropython")), *(["-X", f"heapsize={heap}"] if heap else [])]


def config(port: int, **changes: object) -> dict[str, Any]:
    """Return a board's config.json for a broker on loopback, without the sweep at power-on."""
    base = {"id": DEVICE, "node": NODE, "broker": {"host": "127.0.0.1", "port": port}, "ntp": "", "sweep": False}
    return merged(base, changes)


def board(flash: Path, port: int, *, heap: str | None = None, **changes: object) -> VirtualBoard:
    """Return a virtual board under MicroPython."""
    return VirtualBoard(flash, config(port, **changes), micropython(heap))


def installed(flash: Path) -> Path:
    """Put the firmware's own sources into a flash, for a test that changes one of them."""
    (flash / "gauge").mkdir(parents=True)
    for path in modules():
        (flash / "gauge" / path.name).write_bytes(path.read_bytes())
    for path in fixed():
        (flash / path.name).write_bytes(path.read_bytes())
    return flash


def hurried(flash: Path, module: str, **times: int) -> Path:
    """Put the firmware into a flash with some of a module's waiting times made short, so that a test need not wait."""
    path = installed(flash) / "gauge" / f"{module}.py"
    text = path.read_text()
    assert all(f"{name} " in text or f"{name}," in text for name in times)
    path.write_text(text + "".join(f"\n{name} = {value}\n" for name, value in times.items()))
    return flash


def fresh(**changes: object) -> Usage:
    """Return a payload computed just now."""
    return usage(**{"updated_at": stamp(time.time()), **changes})


class Sender:
    """A publisher's place on the broker, for payloads of the test's choice."""

    def __init__(self, port: int, *, will: bool = False, user: str | None = None, password: str = "") -> None:
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self.client.username_pw_set(user, password)
        if will:
            self.client.will_set(status_topic(NODE), b"offline", qos=1, retain=True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, payload: Usage | bytes, *, retain: bool = True, topic: str = usage_topic(NODE)) -> None:
        """Publish and wait until the broker has it."""
        data = payload if isinstance(payload, bytes) else payload.to_json()
        self.client.publish(topic, data, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def status(self, text: bytes) -> None:
        """Publish the status."""
        self.send(text, topic=status_topic(NODE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def linked(each: VirtualBoard, times: int = 1) -> None:
    """Wait until the board has a session with the broker, for the n-th time."""
    assert each.wait(lambda: sum("link: connected" in line for line in each.log) >= times), each.log


def shows(each: VirtualBoard, *shares: float) -> None:
    """Wait until the needles stand at these shares."""
    steps = 1 / 3240
    wanted = pytest.approx(list(shares), abs=2 * steps)
    assert each.wait(lambda: each.shares() == wanted), f"{each.shares()} {each.lamps} {each.log[-5:]}"


def rests(each: VirtualBoard) -> None:
    """Wait until the needles rest on their stops and STALL alone shines."""
    stop = -20 / 270

    def resting() -> bool:
        at_rest = each.shares() == [pytest.approx(stop, abs=0.001)] * 4
        return at_rest and each.lamps[3] != DARK and {*each.lamps[:3], each.lamps[4]} == {DARK}

    assert each.wait(resting), f"{each.shares()} {each.lamps} {each.log[-5:]}"


def reported(text: str | bytes) -> Mapping[str, Any]:
    """Read JSON."""
    value: Mapping[str, Any] = json.loads(text)
    return value
