from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext
from tests.support.http import get
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, answers, free_port, wait_until
from tests.support.page import Cluster
from tests.support.parts import part
from tests.support.payloads import usage
from tests.support.publisher import Publishing, environment
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.contract.usage import stamp
from claude_gauge.outlets.web.shim import Display

pytestmark = pytest.mark.xdist_group("browser-live")  # what they share is slow to begin

TOPIC, STATUS = "claude-gauge/studio/usage", "claude-gauge/studio/status"


class Speaker:
    """Publishes by hand what a publisher on another machine would."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker

    def say(self, payload: bytes, status: str = "online", *, retain: bool = True) -> None:
        """Publish a status and a payload."""
        with Listener(self._broker.port) as publisher:
            for topic, value in ((STATUS, status.encode()), (TOPIC, payload)):
                publisher.client.publish(topic, value, qos=1, retain=retain).wait_for_publish(PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Mosquitto:
    """A Mosquitto, not started yet."""
    return Mosquitto(tmp_path / "broker")


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

        assert payload["rate_1m"] == SAMPLE
        assert angle == pytest.approx(-135 + 270 * SAMPLE / 2500, abs=0.18)
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

        assert slices == [[SAMPLE, None]] * 4
        assert str(cluster.page.get_attribute("#strip path.rate", "d")).count("M") == 4
        assert cluster.complaints == []


@contextmanager
def _displayed(broker: Mosquitto) -> Iterator[int]:
    """Serve what a broker has, as `claude-gauge web` does; yields the port."""
    port = free_port()
    display = Display(Settings(broker=broker.url, http=f"127.0.0.1:{port}"))
    running = threading.Thread(target=display.run)
    running.start()
    wait_until(lambda: answers(port), "the page's address")
    yield port
    display.stop()
    running.join(PATIENCE_S)


def test_another_node(context: BrowserContext, broker: Mosquitto) -> None:
    """With `?node=` the page shows another machine: live, offline, and live again; its markup stays text."""
    with broker:
        speaker = Speaker(broker)
        speaker.say(usage(window_5h_pct=0.42, last_model="<b>x</b>", node="studio").to_json())
        with _displayed(broker) as port:
            cluster = Cluster(context, f"http://localhost:{port}/?node=studio")
            cluster.shows("window_5h_pct", "42 %")
            model = cluster.page.inner_text("#lamps li:first-child .legend")
            speaker.say(usage(window_5h_pct=0.5).to_json(), "offline")
            cluster.stale("publisher offline")
            speaker.say(usage(window_5h_pct=0.6).to_json())
            cluster.shows("window_5h_pct", "60 %")

            assert model.endswith("<B>X</B>")
            assert cluster.violations() == []


def test_old_retained_payload(context: BrowserContext, broker: Mosquitto) -> None:
    """A payload that the broker kept for an hour is stale, and a fresh one after it is live."""
    with broker:
        speaker = Speaker(broker)
        speaker.say(usage(updated_at=stamp(time.time() - 3600)).to_json())
        with _displayed(broker) as port:
            cluster = Cluster(context, f"http://localhost:{port}/?node=studio")
            cluster.stale("no heartbeat")
            speaker.say(usage(window_5h_pct=0.8, updated_at=stamp(time.time() - 7200)).to_json(), retain=False)

            cluster.shows("window_5h_pct", "80 %")


def test_what_the_contract_refuses(context: BrowserContext, broker: Mosquitto) -> None:
    """A payload that every reader of the contract refuses changes nothing on the page."""
    good = usage(window_5h_pct=0.42).to_json()
    with broker, _displayed(broker) as port, Listener(broker.port) as other:
        Speaker(broker).say(good)
        cluster = Cluster(context, f"http://localhost:{port}/?node=studio")
        cluster.shows("window_5h_pct", "42 %")
        for bad in (good.replace(b"0.42", b"7"), good.replace(b"0.42", b'"0.9"x'), b"{}", b"x" * 70_000):
            other.client.publish(TOPIC, bad, qos=1).wait_for_publish(PATIENCE_S)
        other.client.publish(TOPIC, usage(rate_1m=1000).to_json(), qos=1).wait_for_publish(PATIENCE_S)
        cluster.shows("rate_1m", "1.00 k tokens/min")

        assert cluster.gauge("window_5h_pct") == "42 %"
        assert cluster.complaints == []


def test_wall(context: BrowserContext, broker: Mosquitto) -> None:
    """A display without a node of its own shows all machines side by side; the menu leads to each of them."""
    with broker, Listener(broker.port) as other, _displayed(broker) as port:
        for name, share in (("attic", 0.3), ("studio", 0.8)):
            payload = usage(window_5h_pct=share, node=name, waiting=name == "attic").to_json()
            other.client.publish(f"claude-gauge/{name}/usage", payload, 1, retain=True).wait_for_publish(PATIENCE_S)
        cluster = Cluster(context, f"http://localhost:{port}/")
        cluster.page.wait_for_selector(".card:nth-child(2)")
        face = ".gauge[data-field=window_5h_pct]"
        shown = [
            cluster.page.get_attribute(f".card[aria-label={n}] {face}", "aria-valuetext") for n in ("attic", "studio")
        ]
        waits = cluster.page.inner_text(".card[aria-label=attic] .state")
        cluster.page.wait_for_selector("#node option[value=attic]", state="attached")
        cluster.page.select_option("#node", "attic")
        cluster.shows("window_5h_pct", "30 %")

        assert shown == ["30 %", "80 %"]
        assert waits.startswith("waits for you")
        assert cluster.page.is_hidden("#wall")
        assert cluster.violations() == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_wall_is_accessible(browser: Browser, broker: Mosquitto, scheme: Literal["dark", "light"]) -> None:
    """The axe rules find nothing to complain about on the wall, live and stale cards together."""
    with broker, Listener(broker.port) as other, _displayed(broker) as port:
        for name, made_at in (("attic", time.time()), ("studio", time.time() - 3600)):
            payload = usage(node=name, waiting=True, updated_at=stamp(made_at)).to_json()
            other.client.publish(f"claude-gauge/{name}/usage", payload, 1, retain=True).wait_for_publish(PATIENCE_S)
        with browser.new_context(color_scheme=scheme, reduced_motion="reduce", bypass_csp=True) as context:
            cluster = Cluster(context, f"http://localhost:{port}/")
            cluster.page.wait_for_selector(".card[data-stale] + .card, .card + .card[data-stale]")
            cluster.page.add_script_tag(path=part("axe-core-4.14.1/node_modules/axe-core/axe.min.js"))
            found = cluster.page.evaluate("axe.run()")

        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]] == []


def test_fleet_above_the_wall(context: BrowserContext, broker: Mosquitto) -> None:
    """Where a fleet adds the machines up, `?node=all` has its figures on the large dials, above the machines."""
    with broker, Listener(broker.port) as other, _displayed(broker) as port:
        for name, share in (("attic", 0.3), ("all", 0.6)):
            payload = usage(window_5h_pct=share, node=name).to_json()
            other.client.publish(f"claude-gauge/{name}/usage", payload, 1, retain=True).wait_for_publish(PATIENCE_S)
        cluster = Cluster(context, f"http://localhost:{port}/?node=all")
        cluster.page.wait_for_selector('main .gauge[data-field=window_5h_pct][aria-valuetext="60 %"]')
        cluster.page.wait_for_selector('.card .gauge[data-field=window_5h_pct][aria-valuetext="30 %"]')

        assert cluster.page.locator(".card").count() == 1
