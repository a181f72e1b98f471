"""Messages of any size that others write cost us no memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, free_port

LARGE = 30 * 1024 * 1024
LEAST = 12 * 1024 * 1024  # what may come and go for other reasons

# Listens for a while to a topic with a large retained message, and says what came and how much memory that took.
READER = """
import resource, sys, threading
from claude_gauge.config import Settings
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.endpoint import FIVE, SURE, THREE, Versions
from claude_gauge.mqtt import link as links
links.LARGE_S = 0.5
link, came, received = Link(Settings(broker=sys.argv[1]), status=None), threading.Event(), []
if sys.argv[2] == "3":
    link._versions = Versions(doubts=SURE, next=THREE)
def take(message):
    received.append(len(message.payload))
    if message.topic == "t/end":
        came.set()
link.start()
assert link.wait_connected(120)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
link.listen("t/large", take)
link.listen("t/end", take)
assert came.wait(120), (link.trouble, received)
print(link.version, received, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
link.stop()
"""


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A broker that keeps a large message, with TCP and websockets: its URLs."""
    port = free_port()
    more = (f"listener {port} 127.0.0.1", "protocol websockets", "socket_domain ipv4")
    with Mosquitto(tmp_path_factory.mktemp("holding"), *more) as broker:
        with Listener(broker.port, "none") as other:
            other.client.publish("t/large", bytes(LARGE), qos=1, retain=True).wait_for_publish(PATIENCE_S)
            other.client.publish("t/end", b"x", qos=1, retain=True).wait_for_publish(PATIENCE_S)
        yield {"mqtt": broker.url, "ws": f"ws://127.0.0.1:{port}/mqtt"}


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
@pytest.mark.parametrize("version", ["5", "3"], ids=["mqtt5", "mqtt311"])
def test_large_retained_message(
    holding: dict[str, str], scheme: str, version: str, record_property: Callable[[str, object], None]
) -> None:
    """A retained message of 30 MB on a topic that we read is not kept, and what comes after it is read.

    Mosquitto 2.0 sends 40 kB/s over websockets: on 3.1.1 the link goes on without that topic there.
    """
    command = [sys.executable, "-c", READER, holding[scheme], version]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    spoken, received, grown = (
        done.stdout.split("[")[0].strip(),
        done.stdout.split("[")[1].split("]")[0],
        done.stdout.split()[-1],
    )
    record_property("figure", f"{LARGE >> 20} MB retained, {spoken}, {scheme}: {int(grown) >> 20} MB more memory")

    assert received == "1"
    assert int(grown) < LEAST
