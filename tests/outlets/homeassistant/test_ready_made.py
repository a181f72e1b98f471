"""The dashboard and the blueprints that we ship, in a real Home Assistant and a real browser."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator

import pytest
from tests.outlets.homeassistant.conftest import BUSY, Node, node
from tests.support import ROOT
from tests.support.homeassistant import RunningHomeAssistant
from tests.support.mosquitto import Mosquitto
from tests.support.net import wait_until
from tests.support.page import chromium

from claude_gauge.contract.scales import gauges
from claude_gauge.contract.usage import stamp
from claude_gauge.outlets.homeassistant.discovery import discovery

pytestmark = pytest.mark.xdist_group("homeassistant-ready-made")  # what they share is slow to begin

CALM = BUSY.model_copy(update={"window_5h_pct": 0.5, "limit_before_reset": False, "waiting": False})
OURS = ROOT / "broker" / "homeassistant"
MANY = 15_123_456_789  # tokens, more than half a phone's width has room for
CUT = """(card) => {
  const parts = (node) => [...(node.shadowRoot?.children ?? []), ...node.children];
  const below = (node) => parts(node).flatMap((each) => [each, ...below(each)]);
  const cut = (each) => each.scrollWidth > each.clientWidth && getComputedStyle(each).textOverflow === "ellipsis";
  return below(card).filter(cut).map((each) => each.textContent.trim());
}"""
CARDS = {"entities", "entity", "gauge", "grid", "heading", "history-graph", "sections", "tile"}
CONFIGURATION = """
lovelace:
  dashboards:
    claude-gauge: {mode: yaml, filename: claude-gauge.yaml, title: Claude Code, show_in_sidebar: true}
counter: {crossed: {}, fuel: {}, limit: {}, waits: {}, answered: {}, patient_waits: {}, patient_answered: {}}
input_text: {said: {max: 255}, noted: {max: 255}, dismissed: {max: 255}}
utility_meter: # as the guide says
  used: {source: sensor.claude_gauge_meter_tokens_total, cycle: daily, periodically_resetting: false}
automation:
  - alias: Every crossing
    triggers: {trigger: numeric_state, entity_id: sensor.claude_gauge_made_window_5h_pct, above: 80}
    actions: {action: counter.increment, target: {entity_id: counter.crossed}}
    mode: queued
  - alias: Fuel
    use_blueprint:
      path: claude-gauge/fuel_low.yaml
      input:
        fuel: sensor.claude_gauge_made_window_5h_pct
        resets: sensor.claude_gauge_made_window_5h_resets_at
        then_do:
          - {action: counter.increment, target: {entity_id: counter.fuel}}
          - {action: input_text.set_value, target: {entity_id: input_text.said}, data: {value: "{{ text }}"}}
  - alias: Limit
    use_blueprint:
      path: claude-gauge/limit_before_reset.yaml
      input:
        limit: binary_sensor.claude_gauge_made_limit_before_reset
        minutes: sensor.claude_gauge_made_minutes_to_limit
        patience: 0
        then_do:
          - {action: counter.increment, target: {entity_id: counter.limit}}
          - {action: input_text.set_value, target: {entity_id: input_text.said}, data: {value: "{{ text }}"}}
  - alias: Waiting
    use_blueprint:
      path: claude-gauge/waiting.yaml
      input:
        waiting: binary_sensor.claude_gauge_made_waiting
        patience: 0
        then_do: [{action: counter.increment, target: {entity_id: counter.waits}}]
        and_then: [{action: counter.increment, target: {entity_id: counter.answered}}]
  - alias: Fuel by default
    use_blueprint:
      path: claude-gauge/fuel_low.yaml
      input:
        fuel: sensor.claude_gauge_made_window_5h_pct
        resets: sensor.claude_gauge_made_window_5h_resets_at
  - alias: Limit by default
    use_blueprint:
      path: claude-gauge/limit_before_reset.yaml
      input:
        limit: binary_sensor.claude_gauge_made_limit_before_reset
        minutes: sensor.claude_gauge_made_minutes_to_limit
  - alias: Waiting by default
    use_blueprint:
      path: claude-gauge/waiting.yaml
      input: {waiting: binary_sensor.claude_gauge_made_waiting, patience: 0}
  - alias: Another node waits
    use_blueprint:
      path: claude-gauge/waiting.yaml
      input: {waiting: binary_sensor.claude_gauge_other_waiting, patience: 0}
  - alias: Patient
    use_blueprint:
      path: claude-gauge/waiting.yaml
      input:
        waiting: binary_sensor.claude_gauge_patient_waiting
        patience: 20
        then_do: [{action: counter.increment, target: {entity_id: counter.patient_waits}}]
        and_then: [{action: counter.increment, target: {entity_id: counter.patient_answered}}]
  - alias: What is on the bell
    triggers: {trigger: persistent_notification, update_type: [added, removed]}
    actions:
      - action: input_text.set_value
        target: {entity_id: "input_text.{{ 'noted' if trigger.update_type == 'added' else 'dismissed' }}"}
        data: {value: "{{ trigger.notification.notification_id }}: {{ trigger.notification.title }}"}
    mode: queued
"""


@pytest.fixture(scope="module")
def broker_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningHomeAssistant, Mosquitto]]:
    """Home Assistant with everything that we ship, as the guide says to install it."""
    folder = tmp_path_factory.mktemp("house")
    home = RunningHomeAssistant(folder / "homeassistant")
    with Mosquitto(folder / "broker") as broker, home:
        home.connect(broker.port)
        with node(broker, "made") as first:
            first.say(BUSY)
            home.wait_state(first.entity("binary_sensor", "waiting"), "on")
            home.stop()
        shutil.copytree(OURS / "blueprints", home.folder / "blueprints" / "automation" / "claude-gauge")
        (home.folder / "claude-gauge.yaml").write_text((OURS / "dashboard.yaml").read_text().replace("NODE", "made"))
        with (home.folder / "configuration.yaml").open("a") as configuration:
            configuration.write(CONFIGURATION)
        home.start()
        yield home, broker


@pytest.fixture
def made(home: RunningHomeAssistant, closed_broker: Mosquitto) -> Iterator[Node]:
    """A publishing node whose entities the automations look at."""
    with node(closed_broker, "made") as found:
        found.say(CALM)
        home.wait_state("sensor.claude_gauge_made_window_5h_pct", "50.0")
        home.wait_state("binary_sensor.claude_gauge_made_waiting", "off")
        yield found


def test_fuel_low(home: RunningHomeAssistant, made: Node) -> None:
    """It is said once per window, though the figure crosses the threshold again, and again in the next window."""
    resets = [time.time() + hours * 3600 for hours in (1, 6)]
    steps = [(0.85, resets[0], 1), (0.9, resets[0], 1), (0.86, resets[1], 2)]
    for crossings, (share, resets_at, said) in enumerate(steps, 1):
        made.say(CALM.model_copy(update={"window_5h_pct": 0.5, "window_5h_resets_at": stamp(resets_at)}))
        home.wait_state("sensor.claude_gauge_made_window_5h_pct", "50.0")
        wait_until(lambda at=resets_at: _resets(home) == int(at), "the reset's time")  # type: ignore[misc]
        made.say(CALM.model_copy(update={"window_5h_pct": share, "window_5h_resets_at": stamp(resets_at)}))
        home.wait_state("counter.crossed", str(crossings))

        home.wait_state("counter.fuel", str(said))
    text = home.state("input_text.said")
    clock = time.strftime("%H:%M", time.gmtime(resets[1]))
    assert text == f"86 % of the 5-hour window is used; it resets at {clock}"


def _resets(home: RunningHomeAssistant) -> int:
    return int(home.render("{{ states('sensor.claude_gauge_made_window_5h_resets_at') | as_timestamp(0) | int }}"))


def test_limit_before_reset(home: RunningHomeAssistant, made: Node) -> None:
    """It is said when the lamp comes on, with the minutes that are left, and once per window."""
    made.say(CALM.model_copy(update={"limit_before_reset": True, "minutes_to_limit": 41.7}))
    home.wait_state("counter.limit", "1")

    home.wait_state("input_text.said", "At this pace the 5-hour window is used up in 42 minutes, before it resets")
    made.say(CALM)
    home.wait_state("binary_sensor.claude_gauge_made_limit_before_reset", "off")
    made.say(CALM.model_copy(update={"limit_before_reset": True, "minutes_to_limit": 20.0}))
    home.wait_state("binary_sensor.claude_gauge_made_limit_before_reset", "on")
    made.say(CALM.model_copy(update={"waiting": True}))
    home.wait_state("counter.waits", "1")

    assert home.state("counter.limit") == "1"


def test_waiting(home: RunningHomeAssistant, made: Node) -> None:
    """One thing is done when Claude waits, the other when it no longer does, also after automations were reloaded."""
    waits, answered = (int(home.state(f"counter.{name}")) for name in ("waits", "answered"))
    for reload in (False, True):
        made.say(CALM.model_copy(update={"waiting": True}))
        waits += 1
        home.wait_state("counter.waits", str(waits))
        if reload:
            home.post("services/automation/reload", {})
        made.say(CALM.model_copy(update={"waiting": False}))
        answered += 1

        home.wait_state("counter.answered", str(answered))


@pytest.mark.parametrize("what", ["home", "broker", "publisher", "reload"])
def test_said_once_whatever_restarts(home: RunningHomeAssistant, closed_broker: Mosquitto, what: str) -> None:
    """What was said of a window is not said again after a restart of Home Assistant, broker or publisher, or reload."""
    high = CALM.model_copy(
        update={
            "window_5h_pct": 0.9,
            "window_5h_resets_at": stamp(time.time() + 3600),
            "limit_before_reset": True,
            "minutes_to_limit": 20.0,
        }
    )
    fuel, limit = "sensor.claude_gauge_made_window_5h_pct", "binary_sensor.claude_gauge_made_limit_before_reset"
    with node(closed_broker, "made") as made:
        made.say(high)
        home.wait_state(fuel, "90.0")
        home.wait_state(limit, "on")
        wait_until(lambda: int(home.state("counter.fuel")) and int(home.state("counter.limit")), "both to be said")
        said = [home.state(f"counter.{name}") for name in ("fuel", "limit")]
        if what == "home":
            home.stop()
            home.start()
        elif what == "broker":
            closed_broker.kill()
            home.wait_state(fuel, "unavailable")
            closed_broker.start()
        elif what == "reload":
            home.post("services/automation/reload", {})
    if what == "publisher":
        home.wait_state(fuel, "unavailable")
    with node(closed_broker, "made") as made:
        made.say(high.model_copy(update={"waiting": False}))
        home.wait_state(fuel, "90.0")
        home.wait_state(limit, "on")
        waits = int(home.state("counter.waits"))
        made.say(high.model_copy(update={"waiting": True}))
        home.wait_state("counter.waits", str(waits + 1))  # whatever was said before is counted by now

    assert [home.state(f"counter.{name}") for name in ("fuel", "limit")] == said


def test_notifications_of_two_nodes(home: RunningHomeAssistant, closed_broker: Mosquitto, made: Node) -> None:
    """Each node's notification is its own: an answer on one machine does not hide that another still waits."""
    noted = "claude_gauge_waiting_binary_sensor.claude_gauge_{0}_waiting: Claude Code {0}".format
    with node(closed_broker, "other") as other:
        for each, name in ((made, "made"), (other, "other")):
            each.say(CALM.model_copy(update={"waiting": True}))
            home.wait_state("input_text.noted", noted(name))
        other.say(CALM)
        home.wait_state("input_text.dismissed", noted("other"))
        made.say(CALM)
        home.wait_state("input_text.dismissed", noted("made"))


def test_answered_soon_after_a_restart(home: RunningHomeAssistant, closed_broker: Mosquitto) -> None:
    """A wait that was said before Home Assistant's restart ends with its answer, however soon that comes after it."""
    with node(closed_broker, "patient") as patient:
        patient.say(CALM.model_copy(update={"waiting": True}))
        home.wait_state("counter.patient_waits", "1")
        home.stop()
        home.start()
        home.wait_state("binary_sensor.claude_gauge_patient_waiting", "on")
        patient.say(CALM)

        home.wait_state("counter.patient_answered", "1")


def test_utility_meter(home: RunningHomeAssistant, closed_broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """A utility meter counts what was used, over a restart of the publisher, of the broker and of Home Assistant."""
    monkeypatch.setattr("claude_gauge.outlets.homeassistant.discovery.HOLD_S", 1)
    total, tokens = "sensor.claude_gauge_meter_tokens_total", 5_000_000_000

    def use(meter: Node, more: int) -> None:
        nonlocal tokens
        tokens += more
        meter.say(CALM.model_copy(update={"tokens_total": tokens}))

        def later() -> bool:
            meter.say(CALM.model_copy(update={"tokens_total": tokens}))
            return home.state(total) == str(tokens)

        wait_until(later, "the sum to be taken over")

    with node(closed_broker, "meter") as meter:
        use(meter, 0)
        use(meter, 2_000)
        home.wait_state("sensor.used", "2000")
    home.wait_state(total, "unavailable")
    with node(closed_broker, "meter") as meter:
        use(meter, 3_000)
        home.wait_state("sensor.used", "5000")
        closed_broker.stop()
        closed_broker.start()
        use(meter, 4_000)
        home.wait_state("sensor.used", "9000")
        home.stop()
        home.start()
        use(meter, 1_000)
        home.wait_state("sensor.used", "10000")


def test_automations_are_valid(home: RunningHomeAssistant, made: Node) -> None:
    """With nothing but the entities named, every blueprint makes an automation that is on."""
    made.say(CALM)
    states = home.states("automation.")

    assert len(states) == CONFIGURATION.count("- alias:")
    assert {each.state for each in states.values()} == {"on"}


def test_dashboard(home: RunningHomeAssistant, made: Node) -> None:
    """The dashboard shows its gauges and tiles in a browser, whole on a phone, too, and no card complains."""
    made.say(CALM)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 2000})
        page.set_default_timeout(90_000)
        home.show(page, "/claude-gauge/claude-code", "hui-history-graph-card")
        page.wait_for_function("() => document.title.includes('Claude Code')")
        page.locator("hui-gauge-card", has_text="5h plan").get_by_text(re.compile("50.0")).first.wait_for()
        counted = {card: page.locator(card).count() for card in ("hui-gauge-card", "hui-tile-card", "hui-error-card")}
        missing = page.locator("hui-warning").count() + page.get_by_text("Entity not found").count()
        many = dict.fromkeys(("window_5h_tokens", "window_7d_tokens", "tokens_total"), MANY)
        made.say(CALM.model_copy(update={"waiting": True, **many}))
        page.set_viewport_size({"width": 390, "height": 2000})
        badge = page.locator("hui-heading-badge", has_text="waits for you")
        badge.wait_for()
        box = badge.bounding_box()
        page.locator("hui-tile-card", has_text=re.compile(r"Tokens so far\s*15,123,457,000")).wait_for()
        cut = [text for card in page.locator("hui-tile-card").all() for text in card.evaluate(CUT)]

    assert cut == []
    assert box is not None
    assert box["x"] + box["width"] <= 390  # on a phone, beside the model's name
    assert counted == {"hui-gauge-card": 4, "hui-tile-card": 15, "hui-error-card": 0}
    assert missing == 0


def test_dashboard_names_entities_that_exist() -> None:
    """Every entity on the dashboard is one of the contract's, and every figure and lamp is on it."""
    text = (OURS / "dashboard.yaml").read_text()
    named = set(re.findall(r"\w+\.claude_gauge_NODE_\w+", text))
    shown = [each for each in json.loads(discovery("x"))["components"].values() if "enabled_by_default" not in each]
    ours = {each["default_entity_id"].replace("_x_", "_NODE_") for each in shown} - {"event.claude_gauge_NODE_alert"}

    assert named == ours


def test_stock_cards_only() -> None:
    """No card needs anything that a fresh Home Assistant does not have."""
    types = set(re.findall(r"type: ([\w:-]+)", (OURS / "dashboard.yaml").read_text()))

    assert types == CARDS


def test_gauges_are_drawn_to_our_scales() -> None:
    """The coloured arcs begin where they begin on every other face of the gauge."""
    text = (OURS / "dashboard.yaml").read_text()
    for gauge in gauges(redline=1_000_000):
        field = "rate_k" if gauge.field == "rate_1m" else gauge.field
        card = text.partition(f"claude_gauge_NODE_{field}\n")[2].partition("grid_options")[0]
        begins = [float(each) for each in re.findall(r"from: (\d+)", card)]
        factor = 100 if gauge.unit == "%" else 1 / 1000
        expected = {0.0} | {zone.start * factor for zone in gauge.zones}

        assert begins == pytest.approx(sorted(expected))
        assert float(re.findall(r"max: (\d+)", card)[0]) == pytest.approx(gauge.high * factor)
