from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from tests.mqtt.conftest import STATUS, USAGE, Connect
from tests.support.mosquitto import Listener
from tests.support.net import PATIENCE_S, answers, free_port, wait_until

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    listener = {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}
    anyone = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    await Broker({"listeners": {"default": listener}, "plugins": anyone}).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def only_311(tmp_path: Path) -> Iterator[int]:
    """A real broker that speaks 3.1.1 only: amqtt falls silent at MQTT 5."""
    port = free_port()
    with (tmp_path / "amqtt.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", AMQTT, str(port)], stderr=log)
    wait_until(lambda: answers(port), "amqtt to listen")
    yield port
    process.kill()
    process.wait(PATIENCE_S)


def test_falls_back_to_311(only_311: int, connect: Connect) -> None:
    """A broker that does not understand MQTT 5 is used with 3.1.1."""
    link = connect(f"mqtt://127.0.0.1:{only_311}")
    link.announce(USAGE, b"1", expiry_s=60)

    assert link.flush(PATIENCE_S), link.trouble
    assert link.version == "MQTT 3.1.1"
    with Listener(only_311, "claude-gauge/#", version=MQTTProtocolVersion.MQTTv311) as reader:
        reader.wait(lambda received: received.topic == USAGE and received.payload == b"1")
        reader.wait(lambda received: received.topic == STATUS and received.payload == b"online")


class Old(socketserver.BaseRequestHandler):
    """A broker's first word only: it refuses MQTT 5 plainly, as 3.1.1 asks for, and accepts 3.1.1."""

    seen: list[int]

    def handle(self) -> None:
        """Answer CONNECT."""
        version = self.request.recv(4096)[8]
        self.seen.append(version)
        self.request.sendall(b"\x20\x02\x00\x01" if version == 5 else b"\x20\x02\x00\x00")
        if version == 4 and len(self.seen) > 2:
            self.request.recv(4096)


def test_remembers_a_plain_refusal(connect: Connect) -> None:
    """A broker that refuses MQTT 5 in words is asked with 3.1.1 at the next reconnect."""
    seen: list[int] = []
    handler = type("Seeing", (Old,), {"seen": seen})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        connect(f"mqtt://127.0.0.1:{server.server_address[1]}")
        wait_until(lambda: len(seen) >= 3, "three connections")
        server.shutdown()

    assert seen[:3] == [5, 4, 4]
