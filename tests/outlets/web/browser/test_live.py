from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from tests.support.http import get
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import answers, free_port, wait_until
from tests.support.page import Cluster
from tests.support.payloads import usage
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.contract.usage import stamp
from claude_gauge.outlets.web.shim import Shim

TOPIC, STATUS = "claude-gauge/studio/usage", "claude-gauge/studio/status"


class Speaker:
    """Publishes by hand what a publisher on another machine would."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker

    def say(self, payload: bytes, status: str = "online", *, retain: bool = True) -> None:
        """Publish a status and a payload."""
        with Listener(self._broker.port) as publisher:
            for topic, value in ((STATUS, status.encode()), (TOPIC, payload)):
                publisher.client.publish(topic, value, qos=1, retain=retain).wait_for_publish(10)


@pytest.fixture
def ws_port() -> int:
    """A port for MQTT over websockets."""
    return free_port()


@pytest.fixture
def broker(tmp_path: Path, ws_port: int) -> Mosquitto:
    """A Mosquitto that also speaks websockets; not started yet."""
    return Mosquitto(tmp_path / "broker", f"listener {ws_port} 127.0.0.1", "protocol websockets")


def test_real_publisher_killed_and_back(tmp_path: Path, context: BrowserContext, broker: Mosquitto) -> None:
    """The page follows real transcripts; a killed publisher is stale at once, a new one is live again by itself."""
    claude = ClaudeHome(tmp_path / "claude")
    port = free_port()
    env = environment(
        claude,
        tmp_path,
        CLAUDE_GAUGE_BROKER=broker.url,
        CLAUDE_GAUGE_NODE="test",
        CLAUDE_GAUGE_HTTP=f"127.0.0.1:{port}",
        CLAUDE_GAUGE_REDLINE="2000",
    )
    with broker, Publishing(tmp_path / "run", env=env) as publisher:
        wait_until(lambda: answers(port) and get(port, "/usage").status == 200, "the first payload")
        cluster = Cluster(context, f"http://127.0.0.1:{port}/")
        cluster.live()
        claude.append(assistant(time.time(), 1, model="claude-haiku-4-5"))
        cluster.shows("rate_1m", "1.16 k tokens/min")
        angle = cluster.angle("rate_1m")
        payload = json.loads(get(port, "/usage").body)
        publisher.end(signal.SIGKILL)
        cluster.stale("publisher lost")
        rest = cluster.angle("rate_1m")
        publisher.start()
        cluster.live()

        assert payload["rate_1m"] == 1160
        assert angle == pytest.approx(-135 + 270 * 1160 / 2500, abs=0.18)
        assert rest == -155
        assert cluster.violations() == []


def test_strip_knows_what_was_before(tmp_path: Path, context: BrowserContext) -> None:
    """A publisher that just began shows the last five hours of the transcripts that it found."""
    claude = ClaudeHome(tmp_path / "claude")
    now = time.time()
    claude.append(*(assistant(now - 60 * minutes, minutes) for minutes in (280, 200, 199, 100)))
    port = free_port()
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER="mqtt://127.0.0.1:1", CLAUDE_GAUGE_HTTP=f"127.0.0.1:{port}")
    with Publishing(tmp_path / "run", env=env):
        wait_until(lambda: answers(port) and get(port, "/usage").status == 200, "the first payload")
        slices = wait_until(
            lambda: [each for each in get(port, "/history").json()["slices"] if each and each[0]], "the past"
        )
        cluster = Cluster(context, f"http://127.0.0.1:{port}/")
        cluster.live()
        cluster.page.wait_for_selector("#strip path.rate[d]:not([d=''])", state="attached")

        assert slices == [[1160, None]] * 4
        assert str(cluster.page.get_attribute("#strip path.rate", "d")).count("M") == 4
        assert cluster.complaints == []


def test_straight_from_the_broker(context: BrowserContext, shim: Shim, broker: Mosquitto, ws_port: int) -> None:
    """With `?broker=` the page reads the topics itself: live, offline, and live again after the broker was killed."""
    with broker:
        speaker = Speaker(broker)
        speaker.say(usage(window_5h_pct=0.42).to_json())
        cluster = Cluster(context, f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{ws_port}/mqtt")
        cluster.shows("window_5h_pct", "42 %")
        speaker.say(usage(window_5h_pct=0.5).to_json(), "offline")
        cluster.stale("publisher offline")
        speaker.say(usage(window_5h_pct=0.6).to_json())
        cluster.shows("window_5h_pct", "60 %")
        broker.kill()
        cluster.stale("broker")
        broker.start()
        speaker.say(usage(window_5h_pct=0.7).to_json())
        cluster.shows("window_5h_pct", "70 %")

        assert cluster.violations() == []


def test_another_node(context: BrowserContext, shim: Shim, broker: Mosquitto, ws_port: int) -> None:
    """`&node=` shows another machine's figures, and its markup stays text."""
    with broker:
        with Listener(broker.port) as publisher:
            payload = usage(window_5h_pct=0.33, last_model="<b>x</b>").to_json()
            publisher.client.publish("claude-gauge/attic/usage", payload, 1, retain=True).wait_for_publish(10)
        cluster = Cluster(context, f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{ws_port}&node=attic")
        cluster.shows("window_5h_pct", "33 %")

        assert cluster.page.inner_text("#lamps li:first-child .legend").endswith("<B>X</B>")


def test_old_retained_payload(context: BrowserContext, shim: Shim, broker: Mosquitto, ws_port: int) -> None:
    """A payload that the broker kept for an hour is stale, and a fresh one after it is live."""
    with broker:
        speaker = Speaker(broker)
        speaker.say(usage(updated_at=stamp(time.time() - 3600)).to_json())
        cluster = Cluster(context, f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{ws_port}/mqtt")
        cluster.stale("no heartbeat")
        speaker.say(usage(window_5h_pct=0.8, updated_at=stamp(time.time() - 7200)).to_json(), retain=False)

        cluster.shows("window_5h_pct", "80 %")


def test_many_packets_and_big_ones(context: BrowserContext, shim: Shim, broker: Mosquitto, ws_port: int) -> None:
    """Packets of every size, many in one frame, are told apart; garbage among them harms nothing."""
    with broker:
        speaker = Speaker(broker)
        speaker.say(usage(window_5h_pct=0.1).to_json())
        cluster = Cluster(context, f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{ws_port}/mqtt")
        cluster.shows("window_5h_pct", "10 %")
        with Listener(broker.port) as other:
            for size in (0, 1, 90, 127, 128, 16_383, 16_384, 70_000):
                other.client.publish(TOPIC, b"x" * size, qos=size % 2)
            for share in range(20, 100):
                other.client.publish(TOPIC, usage(window_5h_pct=share / 100).to_json(), qos=1)
            cluster.shows("window_5h_pct", "99 %")

        assert cluster.complaints == []


def test_password_in_the_fragment(tmp_path: Path, context: BrowserContext, shim: Shim, ws_port: int) -> None:
    """A broker that wants a password gets it from the address's fragment, which no server ever sees."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "reader", "made-up"], check=True)
    passwords.chmod(0o644)
    lines = (f"password_file {passwords}", f"listener {ws_port} 127.0.0.1", "protocol websockets")
    with Mosquitto(tmp_path / "closed", *lines, anonymous=False) as closed:
        with Listener(closed.port, user="reader", password="made-up") as publisher:
            publisher.client.publish(TOPIC, usage(window_5h_pct=0.55).to_json(), 1, retain=True).wait_for_publish(10)
        page = f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{ws_port}/mqtt"
        refused = Cluster(context, page)
        refused.stale("does not let us in")
        cluster = Cluster(context, f"{page}#user=reader&password=made-up")
        cluster.shows("window_5h_pct", "55 %")

        assert not [url for url in cluster.requests if "made-up" in url.partition("#")[0]]


def test_no_such_broker(context: BrowserContext, shim: Shim) -> None:
    """A broker that is not there, or an address that is none, is told in words."""
    away = Cluster(context, f"http://localhost:{shim.port}/?broker=ws://127.0.0.1:{free_port()}/mqtt")
    nonsense = Cluster(context, f"http://localhost:{shim.port}/?broker=nonsense://x")

    assert "broker does not answer" in away.stale("broker does not answer")
    assert "no address of a broker" in nonsense.stale("no address of a broker")
