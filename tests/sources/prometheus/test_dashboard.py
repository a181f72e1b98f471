"""Each panel of the Grafana dashboard, evaluated by a live Prometheus and held against the publisher's own figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.sources.prometheus.past import KINDS
from tests.support.net import PATIENCE_S, wait_until
from tests.support.prometheus import NEW, OLD, Exporter, Server

from claude_gauge.config import Settings
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Reading
from claude_gauge.sources.prometheus.dashboard import text
from claude_gauge.sources.prometheus.rules import text as rules
from claude_gauge.sources.prometheus.source import Prometheus, figures

CEILING, REDLINE = 1_000_000, 50_000
Values = dict[tuple[str, ...], float]
DASHBOARD = json.loads(text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if "targets" in panel}


@contextmanager
def scraped(folder: Path, kind: str = NEW) -> Iterator[tuple[Exporter, Server]]:
    """A Prometheus with our rules, each second evaluated and each second scraped."""
    quick = folder / "rules.yml"
    quick.write_text(rules().replace("interval: 15s", "interval: 1s").replace("interval: 1m", "interval: 1s"))
    with (
        Exporter() as exporter,
        Server(folder / "engine", kind, targets=[exporter.target], rules=quick) as server,
    ):
        yield exporter, server


def asked(title: str) -> str:
    """Return a panel's question as Grafana asks it."""
    [target] = PANELS[title]["targets"]
    expression: str = target["expr"]
    for name, value in {"$__range": "24h", "$ceiling": str(CEILING), "$redline": str(REDLINE)}.items():
        expression = expression.replace(name, value)
    return expression


def answers(server: Server, title: str) -> Values:
    """Return what a panel shows: its values by their labels' texts."""
    return {
        tuple(sorted(text for name, text in each["metric"].items() if name != "__name__")): float(each["value"][1])
        for each in server.ask(asked(title))
    }


def one(server: Server, title: str) -> float | None:
    """Return the value of a panel with one value."""
    found = answers(server, title)
    assert len(found) < 2
    return next(iter(found.values()), None)


def counted(server: Server, tokens: float) -> None:
    """Wait until the rules have counted so many tokens."""
    wait_until(lambda: server.value("sum(claude_gauge:tokens:added7d)") == tokens, f"{tokens} tokens")


OTHERS = {
    'claude_code_cost_usage_USD_total{session_id="a",model="claude-opus-5-5"}': (2.0, 0.5),
    'claude_code_session_count_total{session_id="a"}': (1.0, 1.0),
    'claude_code_active_time_seconds_total{session_id="a",type="cli"}': (90.0, 30.0),
    'claude_code_lines_of_code_count_total{session_id="a",type="added"}': (12.0, 3.0),
    'claude_code_commit_count_total{session_id="a"}': (4.0, 1.0),
    'claude_code_pull_request_count_total{session_id="a"}': (2.0, 1.0),
    'claude_code_code_edit_tool_decision_total{session_id="a",tool_name="Edit",decision="accept",language="Go"}': (
        3,
        2,
    ),
}


@pytest.mark.parametrize("kind", [OLD, NEW])
def test_each_panel(tmp_path: Path, kind: str) -> None:
    """A session that is resumed twice beside another one: every panel shows what the publisher says, to the token."""
    with scraped(tmp_path, kind) as (exporter, server):
        exporter.set(a_input_opus=1000, a_output_opus=20_000, a_cacheRead_opus=140_000, a_cacheCreation_opus=9000)
        exporter.counters |= {name: first for name, (first, _) in OTHERS.items()}
        counted(server, 170_000)
        exporter.set(a_input_opus=10, a_output_opus=500, a_cacheRead_opus=3000, a_cacheCreation_opus=90)
        exporter.counters |= {name: again for name, (_, again) in OTHERS.items()}
        counted(server, 173_600)
        exporter.set(a_output_opus=100, b_output_haiku=7000)
        counted(server, 180_700)
        settings = Settings(prometheus=server.url)
        reading = wait_until(lambda: read(settings, 180_700), "the publisher to read the newest second")
        assert reading is not None
        now = time.time()
        usage = derive(reading, Limits(ceiling_5h=CEILING, redline=REDLINE), now)
        wanted = {(each.metric.name, *each.labels): each.week for each in figures(settings, now)}
        shown = {title: answers(server, title) for title in PANELS}

    def total(name: str) -> Values:
        return {tuple(sorted(labels)): value for (metric, *labels), value in wanted.items() if metric == name}

    block, traffic = reading.block, reading.traffic
    assert block is not None
    assert block.start is not None
    assert traffic is not None
    assert traffic.newest_at is not None
    assert (usage.window_5h_tokens, usage.window_7d_tokens, usage.rate_1m) == (180_700, 180_700, 180_700)
    assert shown.pop("MODEL").keys() <= {("claude-haiku-5-5",), ("claude-opus-5-5",)}
    assert shown == {
        "Tokens, this 5-hour block": {(): usage.window_5h_tokens},
        "Tokens, last 5 hours": {(): usage.window_5h_tokens},
        "Tokens, last 7 days": {(): usage.window_7d_tokens},
        "5H PLAN": {(): pytest.approx(usage.window_5h_pct)},
        "TOKENS/MIN": {(): pytest.approx(usage.rate_1m / REDLINE)},
        "Tokens/min": {(): usage.rate_1m},
        "CACHE HIT": {(): pytest.approx(usage.cache_hit_rate, abs=1e-5)},
        "HOT": {(): usage.hot},
        "WARN": {(): usage.warn},
        "IDLE": {(): usage.idle},
        "LIMIT BEFORE RESET": {(): usage.limit_before_reset},
        "Minutes to the limit": {(): pytest.approx(usage.minutes_to_limit, abs=0.1)},
        "Block resets": {(): pytest.approx(1000 * (block.start + 5 * 3600))},
        "STALL": {(): pytest.approx(now - traffic.newest_at, abs=5)},
        "Cost": total("cost"),
        "Cost per hour": total("cost"),
        "Sessions": total("sessions"),
        "Active time": total("active_time"),
        "Lines of code": total("lines_of_code"),
        "Commits": total("commits"),
        "Pull requests": total("pull_requests"),
        "Edit decisions": total("edit_decisions"),
        "Tokens by model and kind": total("tokens"),
        "Tokens per minute by kind": by_kind(1010, 27_600, 143_000, 9090),
        "Tokens per minute by model": {("claude-haiku-5-5",): 7000, ("claude-opus-5-5",): 173_700},
    }
    assert total("cost") == {("claude-opus-5-5",): 2.5}
    assert (total("active_time"), total("commits")) == ({("cli",): 120}, {(): 5})


def read(settings: Settings, tokens: int) -> Reading | None:
    """Ask once; None until the newest tokens are there."""
    source = Prometheus(settings)
    source.load()
    reading = source.read(time.time())
    return reading if reading.week_tokens == tokens else None


def by_kind(*values: float) -> Values:
    """Return values by kind of token."""
    return {(kind,): value for kind, value in zip(KINDS, values, strict=True)}


def test_unknown_is_no_value(tmp_path: Path) -> None:
    """Where no token was ever seen no panel shows a figure: not 0 %, not 0 tokens, no lamp."""
    with scraped(tmp_path) as (_, server):
        wait_until(lambda: server.value("up") == 1, "a scrape")
        wait_until(lambda: "claude_gauge" in json.dumps(_groups(server)), "the rules")
        shown = {title: answers(server, title) for title in PANELS}

    assert {title for title, found in shown.items() if found} == set()


def test_stall_takes_the_last_rise(tmp_path: Path) -> None:
    """A session that stands still ages, though it is scraped each second."""
    with scraped(tmp_path) as (exporter, server):
        exporter.set(a_output_opus=7)
        counted(server, 7)
        begun = one(server, "STALL")
        assert begun is not None
        wait_until(lambda: (one(server, "STALL") or 0) >= begun + 4, "an age that grows")
        risen = time.monotonic()
        exporter.set(a_output_opus=8)
        counted(server, 8)
        age = one(server, "STALL")

        assert age is not None
        assert age < time.monotonic() - risen + 4  # since the rise, and not since the one before


def _groups(server: Server) -> list[dict[str, Any]]:
    import httpx  # noqa: PLC0415 - one question

    found: list[dict[str, Any]] = httpx.get(f"{server.url}/api/v1/rules", timeout=PATIENCE_S).json()["data"]["groups"]
    return [group for group in found if all(rule["health"] == "ok" for rule in group["rules"])]


def test_every_panel_says_how_it_is_shown() -> None:
    """Thresholds from the bottom up, a colour, a minimum of 0, words for no value, and the variable for the source."""
    for panel in PANELS.values():
        defaults = panel["fieldConfig"]["defaults"]
        steps = defaults["thresholds"]["steps"]

        assert panel["datasource"]["uid"] == "${datasource}"
        assert steps[0]["value"] is None
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
        assert {step["value"] for step in steps} & {80} == set()
        assert (defaults["min"], defaults["noValue"] != "", defaults["color"]["mode"] != "") == (0, True, True)
    colours = {title: PANELS[title]["fieldConfig"]["defaults"]["thresholds"]["steps"][-1] for title in ("HOT", "WARN")}
    assert colours == {"HOT": {"color": "red", "value": 1}, "WARN": {"color": "orange", "value": 1}}


def test_grafanas_own_types_take_it_whole() -> None:
    """Grafana's foundation SDK reads every panel, option and target into its types, and writes all of it again."""
    register_default_plugins()

    read = json.loads(json.dumps(Dashboard.from_json(json.loads(text())), cls=JSONEncoder))

    assert lost(DASHBOARD, read) == []


def lost(given: object, taken: object, place: str = "") -> list[str]:
    """Name what is in the first and not in the second."""
    if isinstance(given, dict) and isinstance(taken, dict):
        return [each for key, value in given.items() for each in lost(value, taken.get(key), f"{place}/{key}")]
    if isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        both = zip(given, taken, strict=True)
        return [each for number, pair in enumerate(both) for each in lost(*pair, f"{place}/{number}")]
    return [] if given == taken else [place]


def test_panels_do_not_overlap() -> None:
    """Each panel has a place of its own on the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
