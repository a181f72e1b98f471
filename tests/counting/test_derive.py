from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.contract.plan_window import PlanLimit, PlanWindow
from claude_gauge.contract.usage import MAX_BYTES, Usage, stamp
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Block, Health, Reading, Tokens, Traffic
from claude_gauge.outlets.alerts.decide import decide

NOW = 1_763_900_000.0
FRESH = Traffic(
    minute=Tokens(10, 200, 700, 90, 50), five_minutes=Tokens(100, 2000, 7000, 900, 500), model="opus", newest_at=NOW - 1
)
BLOCK = Block(50_000_000, NOW - 3600, NOW + 4 * 3600)
HEALTHY = {"tach": Health("transcripts"), "fuel": Health("transcripts")}


def test_all_figures_of_a_busy_moment() -> None:
    """Each seed field is computed as the contract says."""
    usage = derive(Reading(FRESH, BLOCK, 90_000_000, sources=HEALTHY), Limits(redline=900), NOW, node="n")

    assert usage.rate_1m == 1000
    assert (usage.window_5h_tokens, usage.window_5h_pct, usage.fuel_source) == (50_000_000, 0.5, "ceiling")
    assert (usage.thinking_ratio, usage.cache_hit_rate) == (0.25, 0.875)
    assert (usage.last_model, usage.updated_at, usage.node) == ("opus", stamp(NOW), "n")
    assert (usage.hot, usage.warn, usage.stall, usage.idle) == (True, False, False, False)
    assert (usage.window_5h_resets_at, usage.window_7d_tokens) == (stamp(NOW + 4 * 3600), 90_000_000)
    assert (usage.minutes_to_limit, usage.limit_before_reset) == (50_000, False)


@pytest.mark.parametrize(("tach", "rate"), [("all", 1000), ("fresh", 300), ("output", 200)])
def test_tach_counts_the_kinds_that_are_set(tach: str, rate: float) -> None:
    """All kinds, all but cache reads, or output alone."""
    limits = Limits(tach=tach)  # type: ignore[arg-type]

    assert derive(Reading(FRESH), limits, NOW).rate_1m == rate


def test_tach_set_to_output_does_not_make_idle() -> None:
    """Idle means no tokens of any kind, whatever the tachometer counts."""
    traffic = Traffic(minute=Tokens(cache_read=5), newest_at=NOW)

    assert not derive(Reading(traffic), Limits(tach="output"), NOW).idle


def test_idle_knows_no_minutes_to_the_limit() -> None:
    """Without traffic the minutes are null, never 0."""
    usage = derive(Reading(Traffic(newest_at=NOW), BLOCK), Limits(), NOW)

    assert usage.idle
    assert (usage.minutes_to_limit, usage.limit_before_reset) == (None, False)


def test_limit_before_reset() -> None:
    """It runs dry before the window resets, at the present pace; used up it is in any case."""
    traffic = Traffic(minute=Tokens(output=1_000_000), newest_at=NOW)

    assert derive(Reading(traffic, BLOCK), Limits(), NOW).limit_before_reset
    full = derive(Reading(Traffic(newest_at=NOW), Block(200_000_000, NOW, NOW + 60)), Limits(), NOW)
    assert (full.limit_before_reset, full.window_5h_pct, full.minutes_to_limit) == (True, 1, None)


def test_warns_above_four_fifths_of_the_fuel() -> None:
    """Above 80 %, not at it."""
    assert not derive(Reading(FRESH, Block(80, NOW, NOW)), Limits(ceiling_5h=100), NOW).warn
    assert derive(Reading(FRESH, Block(81, NOW, NOW)), Limits(ceiling_5h=100), NOW).warn


def test_warns_below_the_cache_floor_only_with_traffic() -> None:
    """The floor holds where one is set and something was read in the last five minutes."""
    assert derive(Reading(FRESH), Limits(cache_floor=0.9), NOW).warn
    assert not derive(Reading(FRESH), Limits(cache_floor=0.8), NOW).warn
    assert not derive(Reading(FRESH), Limits(), NOW).warn
    assert not derive(Reading(Traffic(newest_at=NOW)), Limits(cache_floor=0.9), NOW).warn


@pytest.mark.parametrize(
    ("reading", "stall"),
    [
        (Reading(FRESH, BLOCK, sources=HEALTHY), False),
        (Reading(FRESH, sources=HEALTHY), True),
        (Reading(Traffic(newest_at=NOW - 600), BLOCK), False),
        (Reading(Traffic(newest_at=NOW - 601), BLOCK), True),
        (Reading(Traffic(newest_at=NOW + 100), BLOCK), False),
        (Reading(Traffic(newest_at=NOW + 5 * 3600), BLOCK), True),
        (Reading(Traffic(), BLOCK), True),
        (Reading(), True),
        (Reading(FRESH, BLOCK, sources={"fuel": Health("ccusage", ok=False)}), True),
        (Reading(FRESH, BLOCK, sources={"tach": Health("transcripts", ok=False, degraded=True)}), False),
    ],
)
def test_stall(reading: Reading, *, stall: bool) -> None:
    """Silence for longer than the window, a source that is away, or a block not known; slower is not old."""
    assert derive(reading, Limits(), NOW).stall is stall


def test_plan_beats_the_ceiling_while_fresh() -> None:
    """The plan's own figure is the fuel until its window ends; then tokens / ceiling is again."""
    reading = Reading(FRESH, BLOCK, plan_5h=PlanWindow(0.9, NOW + 60), plan_7d=PlanWindow(0.3, NOW + 999))
    before, after = derive(reading, Limits(), NOW), derive(reading, Limits(), NOW + 60)

    assert (before.window_5h_pct, before.fuel_source, before.warn) == (0.9, "plan", True)
    assert (before.window_5h_resets_at, before.window_7d_pct) == (stamp(NOW + 60), 0.3)
    assert (after.window_5h_pct, after.fuel_source) == (0.5, "ceiling")


def test_unknown_is_not_zero() -> None:
    """A part that the reading lacks keeps its last value in the seed's fields and is null in the others."""
    before = derive(Reading(FRESH, BLOCK, sources=HEALTHY), Limits(), NOW)
    usage = derive(Reading(), Limits(), NOW + 1, previous=before)

    kept = ("rate_1m", "window_5h_tokens", "window_5h_pct", "thinking_ratio", "cache_hit_rate", "last_model")
    assert {name: getattr(usage, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert usage.stall
    assert (usage.window_7d_tokens, usage.fuel_source, usage.minutes_to_limit) == (None, None, None)


def test_what_is_kept_of_a_window_ends_with_it() -> None:
    """While its source is away the fuel keeps its last figure until the window resets, from payload to payload."""
    usage = derive(Reading(FRESH, BLOCK, sources=HEALTHY), Limits(), NOW)
    for passed in (60, 2 * 3600, 4 * 3600 - 1):
        usage = derive(Reading(), Limits(), NOW + passed, previous=usage)

        assert (usage.window_5h_tokens, usage.window_5h_pct) == (BLOCK.tokens, 0.5)
        assert usage.window_5h_resets_at == stamp(NOW + 4 * 3600)
    usage = derive(Reading(), Limits(), NOW + 4 * 3600, previous=usage)

    assert (usage.window_5h_tokens, usage.window_5h_pct, usage.window_5h_resets_at) == (0, 0, None)
    assert usage.stall


FULL = Block(95_000_000, NOW - 3600, NOW + 4 * 3600)
RACING = Traffic(Tokens(output=2_000_000), Tokens(input=9, output=9_000_000), model="opus", newest_at=NOW)
PLAN = PlanWindow(0.95, NOW + 4 * 3600)
AWAY, SLOW, WELL = Health("x", ok=False, why="away"), Health("x", ok=False, degraded=True), Health("x")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("plan", [None, PLAN])
@pytest.mark.parametrize("block", [FULL, None])
@pytest.mark.parametrize("fuel", [WELL, SLOW, AWAY, None])
@pytest.mark.parametrize("traffic", [RACING, None])
@pytest.mark.parametrize("tach", [WELL, SLOW, AWAY, None])
def test_only_what_is_known_drives_lamps(  # noqa: PLR0913 - a table of all states
    tach: Health | None,
    traffic: Traffic | None,
    fuel: Health | None,
    block: Block | None,
    plan: PlanWindow | None,
    *,
    kept: bool,
) -> None:
    """Every lamp, limit and alert against every state of the sources, with and without a payload before."""
    limits = Limits(cache_floor=0.5)
    before = derive(Reading(RACING, FULL, 10**9), limits, NOW - 1) if kept else None
    sources = {part: health for part, health in (("tach", tach), ("fuel", fuel)) if health}
    usage = derive(Reading(traffic, block, 10**9, plan_5h=plan, sources=sources), limits, NOW, previous=before)
    knows_tach, knows_block = traffic is not None and tach is not AWAY, block is not None and fuel is not AWAY
    knows_fuel = knows_block or plan is not None
    alert, _ = decide(usage, [0.8], None, NOW)

    assert usage.hot == knows_tach
    assert usage.warn == (knows_fuel or knows_tach)
    assert usage.fuel_source == ("plan" if plan else "ceiling" if knows_block else None)
    assert usage.limit_before_reset == (True if knows_block and knows_tach else None)
    assert (usage.minutes_to_limit is not None) == (knows_block and knows_tach)
    assert (usage.window_7d_tokens is not None) == knows_block
    assert usage.stall == (not (knows_tach and knows_block))
    assert (alert is not None) == knows_fuel
    assert (usage.window_5h_pct, usage.rate_1m) == (
        0.95 if knows_fuel or kept else 0,
        2_000_000 if knows_tach or kept else 0,
    )


@pytest.mark.parametrize("moment", [datetime(2026, 3, 29, 2, 30, fold=0), datetime(2026, 10, 25, 2, 30, fold=1)])  # noqa: DTZ001
def test_daylight_saving_moves_nothing(moment: datetime) -> None:
    """Local clocks that skip or repeat an hour change neither times nor windows: all is UTC."""
    now = moment.replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    usage = derive(Reading(FRESH, Block(5, now - 7200, now + 3 * 3600)), Limits(), now)

    left = datetime.fromisoformat(str(usage.window_5h_resets_at)) - datetime.fromisoformat(usage.updated_at)
    assert usage.updated_at.endswith("Z")
    assert left.total_seconds() == 3 * 3600


_odd = st.floats() | st.integers(-(10**20), 10**20) | st.sampled_from([0, 1, 0.5])
_times = st.none() | st.floats() | st.floats(NOW - 40_000, NOW + 40_000)
_tokens = st.builds(Tokens, _odd, _odd, _odd, _odd, _odd)
_texts = st.text(max_size=60)
_traffics = st.builds(Traffic, _tokens, _tokens, st.sampled_from(["exact", "estimated", "unknown"]), _texts, _times)
_plans = st.builds(PlanWindow, _odd, st.floats() | st.floats(NOW, NOW + 40_000))
_readings = st.builds(
    Reading,
    traffic=st.none() | _traffics,
    block=st.none() | st.builds(Block, _odd, _times, _times),
    week_tokens=st.none() | _odd,
    plan_5h=st.none() | _plans,
    plan_7d=st.none() | _plans,
    waiting=st.none() | st.booleans(),
    sources=st.dictionaries(_texts, st.builds(Health, _texts, st.booleans(), _texts, st.booleans()), max_size=6),
)
_limits = st.builds(
    Limits,
    ceiling_5h=st.integers(1, 10**15),
    redline=st.floats(0.1, 1e12),
    stall_s=st.floats(1, 1e9),
    cache_floor=st.none() | st.floats(0, 1),
    tach=st.sampled_from(["all", "fresh", "output"]),
)


@settings(max_examples=400)
@given(st.lists(st.tuples(_readings, st.sampled_from([0, 1, 60, 18_000, -18_000])), max_size=4), _limits)
def test_any_reading_makes_a_valid_payload(steps: list[tuple[Reading, float]], limits: Limits) -> None:
    """Whatever a source says, however the clock jumps: valid by the schema, finite, not negative, under 1,024 bytes."""
    previous, now = None, NOW
    for reading, passed in steps:
        now += passed
        previous = derive(reading, limits, now, node="n" * 40, account="a" * 16, previous=previous)
        payload = previous.to_json()

        assert len(payload) < MAX_BYTES
        assert Usage.model_validate_json(payload) == previous
        assert all(value >= 0 for value in json.loads(payload, parse_constant=_refuse).values() if _is_number(value))
        assert previous.window_7d_tokens is None or previous.window_7d_tokens >= previous.window_5h_tokens


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def test_largest_payload_fits() -> None:
    """Every field at its longest is still under 1,024 bytes, a fleet's payload included."""
    part = Health('"' * 40, ok=False, why="\\\u20ac\0\ud800" * 20)
    plan = PlanWindow(0.123456789, NOW + 123.4567)
    reading = Reading(
        traffic=Traffic(Tokens(9e14 + 0.123), Tokens(1e15, 3, 1e15, 7e14, 1), "exact", "m" * 40, NOW),
        block=Block(10**15, NOW, NOW + 1),
        week_tokens=10**15,
        plan_5h=plan,
        plan_7d=plan,
        limit=PlanLimit("seven_day_opus_and_sonnets", 0.987654321, NOW + 123.4567),
        waiting=False,
        sources={f"{n}-longname": part for n in range(6)},
    )
    usage = derive(reading, Limits(redline=1), NOW, node="n" * 40, account="\u20ac" * 16, tokens_total=10**15)
    usage = usage.model_copy(update={"minutes_to_limit": 999_999.9, "limit_before_reset": False})
    merged = usage.model_copy(update={"node": "all", "hot_node": "n" * 40})

    assert max(len(usage.to_json()), len(merged.to_json())) < MAX_BYTES
    assert None not in merged.model_dump().values()
    assert (usage.sources["0-longna"].why, usage.account) == ("????" * 7, "?" * 16)


def test_fullest_limit_is_named() -> None:
    """Of all limits that the plan reports, the fullest one that still runs: it is what stops work first."""
    five, seven = PlanWindow(0.2, NOW + 60), PlanWindow(0.6, NOW + 999)
    opus = PlanLimit("seven_day_opus", 1.0, NOW + 500)
    for reading, right in (
        (Reading(), (None, None)),
        (Reading(plan_5h=five, plan_7d=seven), ("seven_day", 0.6)),
        (Reading(plan_5h=five, plan_7d=seven, limit=opus), ("seven_day_opus", 1.0)),
        (Reading(plan_5h=five, limit=replace(opus, resets_at=NOW)), ("five_hour", 0.2)),
    ):
        usage = derive(reading, Limits(), NOW)

        assert (usage.limit_name, usage.limit_pct) == right


def test_limit_that_is_reached_warns() -> None:
    """Whatever limit is used up, nothing is left: WARN lights beside windows that are not full."""
    opus, spend = (PlanLimit(name, share, NOW + 30 * 86400) for name, share in (("opus", 0.99), ("spend_limit", 1.0)))

    assert not derive(Reading(plan_5h=PlanWindow(0.1, NOW + 60), limit=opus), Limits(), NOW).warn
    usage = derive(Reading(plan_5h=PlanWindow(0.1, NOW + 60), limit=spend), Limits(), NOW)
    assert (usage.warn, usage.limit_name) == (True, "spend_limit")


def test_block_that_is_not_the_plans_window_tells_no_limit() -> None:
    """A block that just began holds few tokens beside a share of hours: they do not say what is left."""
    block, traffic = Block(400_000, NOW - 120, NOW + 5 * 3600 - 120), Traffic(Tokens(output=200_000), newest_at=NOW)
    usage = derive(Reading(traffic, block, plan_5h=PlanWindow(0.49, NOW + 3480)), Limits(), NOW)
    full = derive(Reading(traffic, block, plan_5h=PlanWindow(1.0, NOW + 3480)), Limits(), NOW)

    assert (usage.minutes_to_limit, usage.limit_before_reset, usage.window_5h_pct) == (None, None, 0.49)
    assert full.limit_before_reset
