from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize
from tests.firmware.golden import PAYLOADS
from tests.support.http import get
from tests.support.net import wait_until
from tests.support.page import Cluster
from tests.support.parts import part
from tests.support.payloads import usage

from claude_gauge.apps.terminal.details import span
from claude_gauge.contract import scales
from claude_gauge.contract.needle import Needle
from claude_gauge.contract.usage import Usage, stamp
from claude_gauge.outlets.web import site
from claude_gauge.outlets.web.shim import Shim

pytestmark = pytest.mark.xdist_group("browser-cluster")  # what they share is slow to begin

Open = Callable[..., Cluster]
FACES = scales.gauges(1_000_000, 0.4)
UNWELL = {"tach": {"source": "prometheus", "ok": False, "why": "connection refused"}}
ALARMED: dict[str, object] = {
    "hot": True,
    "warn": True,
    "waiting": True,
    "idle": True,
    "rate_1m": 2e6,
    "window_5h_pct": 0.9,
    "sources": UNWELL,
}
ASSETS = files("claude_gauge.outlets.web").joinpath("assets")


@pytest.mark.parametrize(
    "moment",
    [
        {},
        {"rate_1m": 0, "window_5h_pct": 0, "thinking_ratio": 0, "cache_hit_rate": 0},
        {"rate_1m": 1_250_000, "window_5h_pct": 1, "thinking_ratio": 1, "cache_hit_rate": 1},
        {"rate_1m": 9e14, "window_5h_pct": 0.805, "thinking_ratio": 0.333, "cache_hit_rate": 0.5},
    ],
)
def test_needles_stand_where_the_payload_says(open_cluster: Open, shim: Shim, moment: dict[str, float]) -> None:
    """Each needle's angle is its payload's, to a step of the movement, and the figure beside it is the same."""
    payload = usage(**moment)
    shim.push(payload.to_json())
    cluster = open_cluster()
    cluster.live()

    for gauge in FACES:
        value = gauge.value(payload)
        assert value is not None
        assert cluster.gauge(gauge.field).startswith(gauge.text(value))
        assert abs(cluster.angle(gauge.field) - scales.angle(gauge.of(payload))) <= 0.18


@pytest.mark.parametrize("name", ["nothing-known", "thinking-unknown", "kept"])
def test_unknown_figures_rest(open_cluster: Open, shim: Shim, name: str) -> None:
    """A figure that is not known is a dash and its needle rests, never 0; the others stand where they belong."""
    payload = PAYLOADS[name].model_copy(update={"updated_at": stamp(time.time())})
    shim.push(payload.to_json())
    cluster = open_cluster()
    cluster.live()

    for gauge in FACES:
        value = gauge.value(payload)
        assert cluster.gauge(gauge.field).startswith("unknown" if value is None else gauge.text(value))
        assert abs(cluster.angle(gauge.field) - scales.angle(gauge.of(payload))) <= 0.18
    known = payload.figure("window_5h_tokens") is not None
    assert (cluster.text("window_5h_tokens") != "—") is known


def test_pushed(open_cluster: Open, shim: Shim) -> None:
    """A new payload shows without anyone asking for it."""
    shim.push(usage(window_5h_pct=0.1).to_json())
    cluster = open_cluster()
    cluster.shows("window_5h_pct", "10 %")
    shim.push(usage(window_5h_pct=0.9).to_json())

    cluster.shows("window_5h_pct", "90 %")


@pytest.mark.parametrize("query", ["", "?node=all"])
def test_another_redline(open_cluster: Open, shim: Shim, query: str) -> None:
    """Where somebody sets another redline, a page that is open draws its dials again."""
    shim.push(usage(rate_1m=1000).to_json())
    cluster = open_cluster(query)
    cluster.page.wait_for_selector(".gauge[data-field=rate_1m][aria-valuenow='1000'][aria-valuemax='1250000']")
    shim.rescale({**scales.as_json(2000), "node": "studio"})

    cluster.page.wait_for_selector(".gauge[data-field=rate_1m][aria-valuenow='1000'][aria-valuemax='2500']")
    assert cluster.complaints == []


def test_lamps(open_cluster: Open, shim: Shim) -> None:
    """Each lamp shines for its field, MODEL in its family's colour, and what shines is also said in words."""
    shim.push(usage(last_model="sonnet", hot=True, warn=True).to_json())
    cluster = open_cluster()
    cluster.live()

    assert cluster.lamps() == {"SONNET": True, "HOT": True, "WARN": True, "STALL": False, "IDLE": False}
    assert cluster.page.eval_on_selector("#lamps li", "lamp => lamp.style.getPropertyValue('--shine')") == "#ffb000"
    assert re.sub(r"\s+", " ", cluster.page.inner_text("#lamps li:nth-child(2)")) == "HOT on"


def test_figures_below(open_cluster: Open, shim: Shim) -> None:
    """What is known beyond the needles stands below them; what is not known is a dash, never a zero."""
    resets = (datetime.now(UTC) + timedelta(hours=2, minutes=14, seconds=20)).isoformat()
    known = usage(
        window_5h_resets_at=resets,
        minutes_to_limit=51,
        limit_before_reset=True,
        window_7d_pct=0.63,
        window_7d_resets_at=resets,
    )
    shim.push(known.to_json())
    cluster = open_cluster()
    cluster.live()
    texts = [
        cluster.text(name) for name in ("window_5h_tokens", "window_5h_resets_at", "minutes_to_limit", "window_7d_pct")
    ]
    shim.push(usage(window_5h_pct=0.5).to_json())
    cluster.shows("window_5h_pct", "50 %")

    assert texts == ["41.2 M tokens", "2 h 14 min", "51 min, before the reset", "63 %, 2 h 14 min left"]
    assert [cluster.text(name) for name in ("minutes_to_limit", "window_7d_pct")] == ["—", "—"]


def test_waiting_and_sources(open_cluster: Open, shim: Shim) -> None:
    """A waiting Claude is reported on top, and a source in trouble with its reason."""
    shim.push(usage(waiting=True, sources=UNWELL).to_json())
    cluster = open_cluster()
    cluster.live()

    assert cluster.page.is_visible("text=Claude waits for you")
    assert cluster.text("sources") == "tach prometheus (connection refused)"


def test_sources_said_once(open_cluster: Open, shim: Shim) -> None:
    """What is the same for all parts is said once; parts that differ are named."""
    well = {"source": "transcripts", "ok": True}
    shim.push(usage(sources=dict.fromkeys(("tach", "fuel", "thinking"), well)).to_json())
    cluster = open_cluster()
    cluster.live()
    once = cluster.text("sources")
    shim.push(usage(window_5h_pct=0.5, sources={"tach": well, "fuel": well, "plan": UNWELL["tach"]}).to_json())
    cluster.shows("window_5h_pct", "50 %")

    assert once == "all from transcripts"
    assert cluster.text("sources") == "tach, fuel transcripts · plan prometheus (connection refused)"


def test_icon_and_fullest_limit(open_cluster: Open, shim: Shim) -> None:
    """The tab's icon shows the share in percent, a limit that is full is named, and a phone can install the page."""
    shim.push(usage(window_5h_pct=0.42, limit_name="seven_day_opus", limit_pct=1).to_json())
    cluster = open_cluster()
    cluster.live()
    icon = cluster.page.get_attribute("link[rel=icon]", "href")
    manifest = get(shim.port, f"/{cluster.page.get_attribute('link[rel=manifest]', 'href')}").json()

    assert icon == "state.svg?show=42"
    assert cluster.text("limit_pct") == "seven day opus 100 %"
    assert manifest["display"] == "standalone"
    assert {get(shim.port, f"/{each['src']}").status for each in manifest["icons"]} == {200}


def test_before_the_first_payload(open_cluster: Open, shim: Shim) -> None:
    """Without any payload the needles rest below zero and the page says that nothing was received."""
    cluster = open_cluster()
    said = cluster.stale("nothing received yet")

    assert said
    assert shim.port
    assert {cluster.angle(gauge.field) for gauge in FACES} == {scales.angle(None)}


def test_hung_publisher(monkeypatch: pytest.MonkeyPatch, context: BrowserContext) -> None:
    """A publisher that holds its connection but says nothing for three heartbeats is stale."""
    monkeypatch.setattr(site, "SILENCE_S", 2)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    shim.push(usage(window_5h_pct=0.42).to_json())
    cluster = Cluster(context, f"http://localhost:{shim.port}/")
    cluster.live()
    said = cluster.stale("no heartbeat")

    assert "last received" in said
    assert [cluster.gauge(gauge.field) for gauge in FACES] == ["unknown"] * 4
    assert cluster.lamps()["STALL"]
    assert not cluster.lamps()["MODEL"]
    assert cluster.angle("window_5h_pct") == scales.angle(None)
    assert cluster.page.title().startswith("STALE")
    shim.push(usage(window_5h_pct=0.43).to_json())
    cluster.shows("window_5h_pct", "43 %")
    shim.stop()


def test_old_payload_is_not_made_young_by_opening_the_page(
    monkeypatch: pytest.MonkeyPatch, context: BrowserContext
) -> None:
    """A page opened long after the last payload shows it as stale at once."""
    monkeypatch.setattr(site, "SILENCE_S", 600)
    clock = [1000.0]
    shim = Shim("127.0.0.1:0", dict, now=lambda: clock[0])
    shim.start()
    shim.push(usage().to_json())
    wait_until(lambda: shim._site.own.payload, "the payload")
    clock[0] += 700
    cluster = Cluster(context, f"http://localhost:{shim.port}/")

    assert "no heartbeat" in cluster.stale("no heartbeat")
    shim.stop()


def test_title_of_a_tab_in_the_background(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tab that nobody looks at still shows by its title that it is stale."""
    monkeypatch.setattr(site, "SILENCE_S", 2)
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    with browser.new_context() as context:
        context.add_init_script("Object.defineProperty(document, 'hidden', { get: () => true })")
        cluster = Cluster(context, f"http://localhost:{shim.port}/")

        def fresh() -> bool:
            shim.push(usage(window_5h_pct=0.42).to_json())
            return cluster.page.title().startswith("42 %")

        wait_until(fresh, "the title of a fresh payload")
        cluster.page.wait_for_function("() => document.title.startsWith('STALE')")

        assert cluster.complaints == []
    shim.stop()


def test_clock_set_back_or_laptop_asleep(browser: Browser, shim: Shim) -> None:
    """Neither a wall clock set back nor a steady clock that stood still keeps an old payload alive."""
    with browser.new_context() as context:
        cluster = Cluster(context, f"http://localhost:{shim.port}/")
        said = cluster.page.evaluate(
            """async (payload) => {
              const { Freshness } = await import("./freshness.js");
              const newest = new Freshness(45), said = [];
              newest.trouble = "";
              let steady = 1e6;
              performance.now = () => steady;
              for (const [wall, ran] of [[10, 10], [-3600, 46], [46, 0], [10, 10]]) {
                newest.payload(payload, 1000);
                steady += ran * 1000;
                said.push(newest.stale(1000 + wall));
              }
              return said;
            }""",
            usage().to_json().decode(),
        )

    assert said == ["", "no heartbeat", "no heartbeat", ""]


def test_markup_in_a_model_name(open_cluster: Open, shim: Shim) -> None:
    """A model, a node or a source full of markup is shown as the text that it is."""
    evil = "<img src=x onerror=alert(1)>"
    part_ = {"tach": {"source": "<b>bold</b>", "ok": False, "why": "<svg/onload=alert(2)>"}}
    payload = usage(last_model=evil[:24], sources=part_).to_json().replace(b'"studio"', b'"<script>alert(3)</script>"')
    shim.push(payload)
    cluster = open_cluster()
    cluster.live()

    assert cluster.page.inner_text("#lamps li:first-child .legend").endswith(evil[:24].upper())
    assert cluster.text("sources") == "tach <b>bold</b> (<svg/onload=alert(2)>)"
    assert cluster.page.query_selector("main img, dd b, dd svg, header script") is None
    assert cluster.complaints == []
    assert cluster.violations() == []


def test_a_family_named_like_a_builtin(open_cluster: Open, shim: Shim) -> None:
    """A family called `constructor` has the colour of any unknown one."""
    shim.push(usage(last_model="constructor").to_json())
    cluster = open_cluster()
    cluster.live()
    shine = cluster.page.eval_on_selector("#lamps li", "lamp => lamp.style.getPropertyValue('--shine')")

    assert shine == scales.LAMPS[0].colour


def test_garbage_on_the_stream(open_cluster: Open, shim: Shim) -> None:
    """What is no payload changes nothing and breaks nothing."""
    shim.push(usage(window_5h_pct=0.42).to_json())
    cluster = open_cluster()
    cluster.shows("window_5h_pct", "42 %")
    for junk in (b"", b"null", b"[]", b'{"rate_1m": "x"}', b"\xff\xfe", b"a\nb\r\n\r\nc"):
        shim.push(junk)
    shim.push(usage(window_5h_pct=0.43).to_json())
    cluster.shows("window_5h_pct", "43 %")

    assert cluster.complaints == []


def test_unknown_and_absent_fields(open_cluster: Open, shim: Shim) -> None:
    """A newer publisher's fields break nothing, and an older one's missing fields are dashes."""
    seed = usage().model_dump(exclude_none=True, exclude={"sources", "node", "schema_version"})
    shim.push(Usage.model_validate(seed).to_json().replace(b"{", b'{"brand_new": [1, {}], ', 1))
    cluster = open_cluster()
    cluster.live()

    assert cluster.gauge("window_5h_pct") == "42 %"
    assert cluster.complaints == []


def test_asks_nobody_else(open_cluster: Open, shim: Shim) -> None:
    """The page makes no request outside of its own server, violates no policy and says nothing on the console."""
    shim.push(usage().to_json())
    cluster = open_cluster()
    cluster.live()
    cluster.page.reload()
    cluster.live()

    assert {url.split("/")[2] for url in cluster.requests} == {f"localhost:{shim.port}"}
    assert cluster.complaints == []
    assert cluster.violations() == []


def test_policy_stops_what_is_inline(open_cluster: Open, shim: Shim) -> None:
    """Were markup ever let in, the policy would still stop it: the watch for violations works."""
    shim.push(usage().to_json())
    cluster = open_cluster()
    cluster.live()
    cluster.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    wait_until(cluster.violations, "a violation")

    assert not [each for each in cluster.complaints if each.startswith("dialog")]


def test_light_and_small() -> None:
    """All files together stay under 60 kB, nothing is inline, and no file names another server."""
    size = sum(len(each.read_bytes()) for each in ASSETS.iterdir())
    texts = {each.name: each.read_text() for each in ASSETS.iterdir() if not each.name.endswith("png")}

    assert size < 60_000
    assert not re.search(r"<style|style=|<script>|\son[a-z]+=", texts["index.html"])
    for name, text in texts.items():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", text), name


def test_one_light_theme() -> None:
    """The light that the system prefers and the one that the address asks for are the same."""
    style = ASSETS.joinpath("style.css").read_text()
    asked = re.search(r':root\[data-theme="light"\] \{(.*?)\}', style, re.DOTALL)
    preferred = re.search(r':root:not\(\[data-theme="dark"\]\) \{(.*?)\}', style, re.DOTALL)

    assert asked
    assert preferred
    assert asked[1] == preferred[1]


def test_fields_are_the_contracts() -> None:
    """Every field that the page names exists in the contract."""
    named = re.findall(r'data-field="(\w+)"', ASSETS.joinpath("index.html").read_text())

    assert set(named) <= set(Usage.model_fields)
    assert len(named) == len(set(named))


def test_without_shared_workers(browser: Browser, shim: Shim) -> None:
    """A browser that has no shared workers opens a stream of its own."""
    shim.push(usage(window_5h_pct=0.42).to_json())
    with browser.new_context() as context:
        context.add_init_script("delete globalThis.SharedWorker")
        cluster = Cluster(context, f"http://localhost:{shim.port}/")
        cluster.shows("window_5h_pct", "42 %")

        assert cluster.complaints == []


def test_more_tabs_than_connections(context: BrowserContext, shim: Shim) -> None:
    """Twice as many tabs are live as a browser opens connections to a server (six): they share one stream."""
    shim.push(usage(window_5h_pct=0.42).to_json())
    tabs = [Cluster(context, f"http://localhost:{shim.port}/") for _ in range(12)]
    for share, text in ((0.42, "42 %"), (0.77, "77 %")):
        for tab in tabs:
            shim.push(usage(window_5h_pct=share).to_json())  # the heartbeat: a busy machine may take long
            tab.shows("window_5h_pct", text)

    streams = shim._site.own.streams
    assert len(streams) == 1
    context.close()
    wait_until(lambda: not streams, "the stream to end with the last tab")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("state", ["live", "alarmed", "stale"])
@pytest.mark.parametrize("width", [1280, 360])
def test_accessible(browser: Browser, shim: Shim, scheme: Literal["dark", "light"], state: str, width: int) -> None:
    """The axe rules find nothing to complain about, in either light, live or stale, on a desk or a phone."""
    screen = ViewportSize(width=width, height=800)
    with browser.new_context(color_scheme=scheme, reduced_motion="reduce", viewport=screen, bypass_csp=True) as context:
        cluster = Cluster(context, f"http://localhost:{shim.port}/")
        if state == "stale":
            cluster.stale()
        else:  # made once the page is there: on a busy machine it would be old by then
            shim.push(usage(**(ALARMED if state == "alarmed" else {})).to_json())
            cluster.live()
        cluster.page.add_script_tag(path=part("axe-core-4.14.1/node_modules/axe-core/axe.min.js"))
        texts = cluster.page.evaluate("axe.run()")

        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in texts["violations"]] == []
        assert len(texts["passes"]) > 10


def test_keyboard(open_cluster: Open, shim: Shim) -> None:
    """The tab key goes from gauge to gauge, each a meter with a name and a figure."""
    shim.push(usage().to_json())
    cluster = open_cluster()
    cluster.live()
    said = []
    for _ in range(4):
        cluster.page.keyboard.press("Tab")
        said.append(
            cluster.page.evaluate(
                "[document.activeElement.role, document.activeElement.ariaLabel, document.activeElement.ariaValueText]"
            )
        )

    assert said == [
        ["meter", "5H PLAN", "42 %"],
        ["meter", "TOKENS/MIN", "500 k tokens/min"],
        ["meter", "THINKING/OUTPUT", "31 %"],
        ["meter", "CACHE HIT", "93 %"],
    ]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 3840])
def test_fits_every_screen(browser: Browser, shim: Shim, width: int) -> None:
    """Nothing is wider than the screen, and no text leaves its lamp or its gauge."""
    shim.push(usage(last_model="a-very-long-family-name", waiting=True, rate_1m=999_000_000_000).to_json())
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        cluster = Cluster(context, f"http://localhost:{shim.port}/")
        cluster.live()
        page = cluster.page

        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            """[...document.querySelectorAll(".gauge")].flatMap((gauge) => {
              const plate = gauge.querySelector(".plate").getBoundingClientRect();
              const edges = (name) => gauge.querySelector(name).getBoundingClientRect();
              const label = edges(".label"), figure = edges(".figure");
              return [label.right <= figure.left, figure.right <= plate.right, label.left >= plate.left];
            }).every(Boolean)"""
        )


def test_theme_by_address(context: BrowserContext, shim: Shim) -> None:
    """A wall display may be given its theme by the page's address, whatever the system prefers."""
    grounds = []
    for query in ("?theme=dark", "?theme=light", ""):
        cluster = Cluster(context, f"http://localhost:{shim.port}/{query}")
        grounds.append(cluster.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    assert grounds[0] == grounds[2] != grounds[1]


def test_memory_of_the_publisher(open_cluster: Open, shim: Shim) -> None:
    """A page opened later shows what the publisher remembers of the last five hours."""
    for at in range(10):
        shim._site.own.history.add(shim._site.clock() - 600 + 60 * at, 100_000 * at, 0.1)
    shim.push(usage(rate_1m=800_000).to_json())
    cluster = open_cluster()
    cluster.live()
    cluster.page.wait_for_function("() => document.getElementById('strip-text').textContent.includes('900 k')")

    assert str(cluster.page.get_attribute("#strip path.rate", "d")).count("M") >= 9


def test_moves_as_the_firmware_does(open_cluster: Open, shim: Shim) -> None:
    """Step for step the page's needle is the one in `needle.py`, also when it is sent elsewhere on its way."""
    orders = [(0.9, 40), (0.1, 300), (None, 70), (1.0, 2000), (0.5, 13), (0.500001, 600)]
    needle, ours = Needle(), []
    for share, steps in orders:
        needle.point(share)
        ours += [(needle.step() is None, needle.at) for _ in range(steps)]
    cluster = open_cluster()
    theirs = cluster.page.evaluate(
        """async ([orders, movement]) => {
          const { Needle } = await import("./needle.js");
          const needle = new Needle(movement), seen = [];
          for (const [share, steps] of orders) {
            needle.point(share);
            for (let n = 0; n < steps; n += 1) seen.push([needle.step() === null, needle.at]);
          }
          return seen;
        }""",
        [orders, scales.as_json(1_000_000)["movement"]],
    )

    assert shim.port
    assert [tuple(each) for each in theirs] == ours


def test_needles_sweep(browser: Browser, shim: Shim) -> None:
    """With motion allowed a needle passes through what lies between, and arrives."""
    shim.push(usage(window_5h_pct=1).to_json())
    with browser.new_context() as context:
        cluster = Cluster(context, f"http://localhost:{shim.port}/")
        cluster.live()
        angles = cluster.page.evaluate(
            """async () => {
              const gauge = document.querySelector(".gauge"), seen = [];
              while (seen.at(-1) !== 135) {
                await new Promise(requestAnimationFrame);
                seen.push(Number(gauge.dataset.angle));
              }
              return seen;
            }"""
        )

    assert angles == sorted(angles)
    assert len(set(angles)) > 5


def test_same_words_as_the_terminal(open_cluster: Open, shim: Shim) -> None:
    """Page and terminal write every figure and every time span alike."""
    counts = [0, 1, 842.4, 999.4, 999.5, 12_449, 99_950, 999_499, 999_500, 1.24e6, 7e15, *(1.7**n for n in range(60))]
    shares = [0, 0.004, 0.005, 0.285, 0.42, 0.999, 1]
    spans = [0.1, 1, 59.4, 59.6, 60, 134, 1439, 2879, 2880, 5000.2]
    cluster = open_cluster()
    theirs = cluster.page.evaluate(
        """async ([counts, shares, spans]) => {
          const { short, percent, span } = await import("./words.js");
          return [counts.map(short), shares.map(percent), spans.map(span)];
        }""",
        [counts, shares, spans],
    )

    assert shim.port
    assert theirs == [
        [scales.short(each) for each in counts],
        [FACES[0].text(each) for each in shares],
        [span(each) for each in spans],
    ]
