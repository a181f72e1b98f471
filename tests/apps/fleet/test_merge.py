from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apps.fleet.conftest import NOW, member

from claude_gauge.apps.fleet.merge import Member, State, merge
from claude_gauge.contract.plan_window import FIVE_HOUR_RESET_S
from claude_gauge.contract.usage import MAX_BYTES, MAX_COUNT, PART_OF, Part, Usage, stamp

REDLINE = 1_000_000


def merged(*members: Member) -> Usage:
    """What the fleet publishes of these nodes."""
    return merge(members, NOW, REDLINE)


def test_rates_and_tokens_add_up() -> None:
    """What each node used is added."""
    payload = merged(
        member("a", rate_1m=100.5, window_5h_tokens=1000, window_7d_tokens=5000, idle=False),
        member("b", rate_1m=200.25, window_5h_tokens=2000),
        member("c", rate_1m=0, window_5h_tokens=4, window_7d_tokens=6),
    )

    assert (payload.rate_1m, payload.window_5h_tokens, payload.window_7d_tokens) == (300.75, 3004, 5006)
    assert (payload.node, payload.updated_at, payload.idle) == ("all", stamp(NOW), False)


def test_thinking_of_the_nodes_that_know_it() -> None:
    """A node whose thinking is not known does not thin out that of the others; where none is, the fleet's is not."""
    unmeasured: dict[str, Any] = {
        "sources": {"thinking": Part(source="otlp", ok=False)},
        "rate_1m": 900,
        "thinking_ratio": 0,
    }
    mixed = merged(member("a", rate_1m=100, thinking_ratio=0.4), member("b", **unmeasured))
    none = merged(member("b", **unmeasured))

    assert (mixed.figure("thinking_ratio"), none.figure("thinking_ratio")) == (0.4, None)
    assert none.figure("rate_1m") == 900


UNKNOWN = {part: Part(source="transcripts", ok=False, why="no transcripts") for part in ("tach", "fuel", "thinking")}


@given(
    st.lists(
        st.tuples(st.sampled_from(State), st.sets(st.sampled_from(sorted(UNKNOWN)), min_size=1)),
        max_size=3,
    )
)
def test_what_no_node_knows_is_unknown(nodes: list[tuple[State, set[str]]]) -> None:
    """A figure is unknown to readers of the merged payload where no node that counts knows it; it is not 0."""
    members = [
        member(str(n), state=state, stall=True, sources={part: UNKNOWN[part] for part in unknown})
        for n, (state, unknown) in enumerate(nodes)
    ]
    payload = merged(*members)
    known = {part for state, unknown in nodes if state is State.LIVE for part in UNKNOWN.keys() - unknown}

    assert {field for field in PART_OF if payload.figure(field) is not None} == {
        field for field, part in PART_OF.items() if part in known
    }


def test_plan_percentage_is_taken_once() -> None:
    """Two nodes of one account show the same window: its share is not added; the newest one counts."""
    reset = stamp(NOW + 3600)
    payload = merged(
        member("a", window_5h_pct=0.4, fuel_source="plan", window_5h_resets_at=reset, window_7d_pct=0.1),
        member("b", window_5h_pct=0.42, fuel_source="plan", window_5h_resets_at=stamp(NOW + 3601), window_7d_pct=0.11),
        member("c", window_5h_pct=0.9, fuel_source="ceiling", window_5h_resets_at=reset),
    )

    assert (payload.window_5h_pct, payload.fuel_source, payload.window_7d_pct) == (0.42, "plan", 0.11)


def test_plan_figure_of_a_window_that_is_over() -> None:
    """A node that still reports the window before does not hide the new window, however full the old one was."""
    payload = merged(
        member("old", window_5h_pct=0.97, fuel_source="plan", window_5h_resets_at=stamp(NOW + 60)),
        member("new", window_5h_pct=0.02, fuel_source="plan", window_5h_resets_at=stamp(NOW + 5 * 3600)),
    )

    assert payload.window_5h_pct == 0.02
    assert payload.window_5h_resets_at == stamp(NOW + 5 * 3600)


def test_shares_of_the_ceiling_add_up() -> None:
    """Without the plan's figure each node knows its own tokens only: the shares of the ceiling add up, cut at 1."""
    half = merged(*(member(n, window_5h_pct=0.25, fuel_source="ceiling") for n in "ab"))
    full = merged(*(member(n, window_5h_pct=0.6, fuel_source="ceiling") for n in "ab"))

    assert (half.window_5h_pct, half.fuel_source, half.warn) == (0.5, "ceiling", False)
    assert (full.window_5h_pct, full.warn, full.limit_before_reset) == (1.0, True, True)


def test_shares_of_sources_that_are_away() -> None:
    """What two nodes keep of one plan's figure, while their sources are away, is not added up."""
    payload = merged(*(member(n, window_5h_pct=0.5, stall=True) for n in "ab"))

    assert (payload.window_5h_pct, payload.fuel_source, payload.stall, payload.warn) == (0.5, None, True, False)
    assert payload.limit_before_reset is None


def test_two_accounts() -> None:
    """Of two accounts the fuller one is shown, whole and by its label: nothing is added or mixed across them."""
    payload = merged(
        member("a", account="home", window_5h_pct=0.3, fuel_source="plan", window_7d_pct=0.9),
        member("b", account="work", window_5h_pct=0.6, fuel_source="plan", window_7d_pct=0.2, rate_1m=10),
        member("c", account="work", window_5h_pct=0.6, fuel_source="plan", rate_1m=10),
    )

    assert (payload.account, payload.window_5h_pct, payload.window_7d_pct, payload.rate_1m) == ("work", 0.6, 0.2, 20)


def test_minutes_at_everyones_pace() -> None:
    """Three nodes burn faster than one: 30 M left at 3 M a minute is 10 minutes, sooner than the reset."""
    reset = stamp(NOW + 3600)
    nodes = [
        member(
            n,
            rate_1m=1e6,
            window_5h_tokens=10_000_000,
            window_5h_pct=0.5,
            fuel_source="plan",
            window_5h_resets_at=reset,
            minutes_to_limit=10,
            idle=False,
        )
        for n in "abc"
    ]
    payload = merged(*nodes)

    assert (payload.minutes_to_limit, payload.limit_before_reset) == (10.0, True)


def test_minutes_of_ceilings() -> None:
    """Two nodes with a quarter of 100 M each at 1 M/min: half is left, 25 minutes; an idle third changes nothing."""
    nodes = [
        member(
            n,
            rate_1m=1e6,
            window_5h_tokens=25_000_000,
            window_5h_pct=0.25,
            fuel_source="ceiling",
            minutes_to_limit=75,
            window_5h_resets_at=stamp(NOW + 600),
        )
        for n in "ab"
    ]
    payload = merged(*nodes, member("idle", fuel_source="ceiling", window_5h_pct=0))

    assert (payload.minutes_to_limit, payload.limit_before_reset) == (25.0, False)


def test_pace_counts_all_kinds() -> None:
    """A node whose tachometer counts output only still burns what its own minutes to the limit say."""
    nodes = [
        member(
            n,
            rate_1m=1000,
            window_5h_tokens=50_000_000,
            window_5h_pct=0.5,
            fuel_source="plan",
            minutes_to_limit=50,
        )
        for n in "a"
    ]

    assert merged(*nodes).minutes_to_limit == 50.0


def test_idle_fleet_has_no_limit() -> None:
    """Minutes to the limit are null while nobody works, never 0."""
    payload = merged(member("a", window_5h_tokens=10, window_5h_pct=0.5, fuel_source="plan"))

    assert (payload.minutes_to_limit, payload.limit_before_reset, payload.idle) == (None, False, True)


def test_ratios_are_weighted() -> None:
    """A node that works ten times as much counts ten times; an idle one keeps its old ratio to itself."""
    payload = merged(
        member("a", rate_1m=1000, cache_hit_rate=0.9, thinking_ratio=0.5),
        member("b", rate_1m=100, cache_hit_rate=0.35, thinking_ratio=0.5),
        member("c", rate_1m=0, cache_hit_rate=0.01, thinking_ratio=1),
    )

    assert payload.cache_hit_rate == pytest.approx(0.85)
    assert payload.thinking_ratio == 0.5


def test_ratios_of_who_worked_last() -> None:
    """In the minutes after the last tokens the ratio is that of the node that had them."""
    payload = merged(
        member("a", cache_hit_rate=0.2, moved_at=NOW - 9), member("b", cache_hit_rate=0.8, moved_at=NOW - 99)
    )

    assert payload.cache_hit_rate == 0.2


def test_newest_model() -> None:
    """The last model is that of the node where tokens flowed last, not that of the newest heartbeat."""
    payload = merged(
        member("a", last_model="opus", moved_at=NOW - 5, updated_at=stamp(NOW - 10)),
        member("b", last_model="haiku", moved_at=NOW - 50, updated_at=stamp(NOW)),
        member("c", last_model="", moved_at=NOW),
    )

    assert payload.last_model == "opus"


def test_hot_node() -> None:
    """It learns which node is hot: the hottest of those that light their lamp."""
    calm = merged(member("a", rate_1m=10), member("b", rate_1m=20))
    hot = merged(
        member("a", rate_1m=900),
        member("b", rate_1m=600, hot=True),
        member("c", rate_1m=5, hot=True),
    )
    together = merged(member("a", rate_1m=600_000), member("b", rate_1m=700_000))

    assert (calm.hot, calm.hot_node) == (False, None)
    assert (hot.hot, hot.hot_node) == (True, "b")
    assert (together.hot, together.hot_node) == (True, "b")


def test_dead_nodes_are_dropped() -> None:
    """Without a window that still runs a node that is off or silent counts nothing; only silence is trouble."""
    payload = merged(
        member("a", rate_1m=10),
        member("off", rate_1m=100, state=State.OFF),
        member("silent", rate_1m=1000, window_5h_pct=0.99, state=State.SILENT),
    )

    assert (payload.rate_1m, payload.window_5h_pct) == (10, 0)
    assert payload.sources == {"nodes": Part(source="1 node", ok=False, why="1 silent, 1 off")}


def test_unhealthy_sources_are_counted() -> None:
    """The fleet says how many nodes have a source that can't be read; it is well when all are."""
    well, unwell = Part(source="transcripts", ok=True), Part(source="otlp", ok=False, why="port taken")
    sick = merged(member("a", sources={"tach": well}), member("b", sources={"tach": well, "fuel": unwell}))
    healthy = merged(member("a", sources={"tach": well}), member("b"))

    assert sick.sources["nodes"] == Part(source="2 nodes", ok=False, why="1 unwell")
    assert healthy.sources["nodes"] == Part(source="2 nodes", ok=True)


def test_lamps() -> None:
    """WARN and waiting light for any node; STALL and IDLE only when all nodes are."""
    payload = merged(
        member("a", warn=True, stall=True, idle=True, waiting=False),
        member("b", stall=False, idle=False, waiting=True),
    )
    unknown = merged(member("a"))

    assert (payload.warn, payload.stall, payload.idle, payload.waiting) == (True, False, False, True)
    assert unknown.waiting is None


def test_nobody_is_there() -> None:
    """Without any live node the fleet stalls, and says why."""
    payload = merged(member("a", rate_1m=10, state=State.OFF))

    assert (payload.stall, payload.rate_1m, payload.minutes_to_limit, payload.fuel_source) == (True, 0, None, None)
    assert payload.sources["nodes"].why == "no node is on"


SHARES = st.floats(0, 1)
MEMBERS = st.builds(
    member,
    st.text("abc-_9", min_size=1, max_size=40),
    state=st.sampled_from(State),
    moved_at=st.floats(0, NOW),
    plan_moved_at=st.floats(0, NOW),
    rate_1m=st.floats(0, MAX_COUNT),
    window_5h_tokens=st.integers(0, MAX_COUNT),
    window_7d_tokens=st.none() | st.integers(0, MAX_COUNT),
    window_5h_pct=SHARES,
    thinking_ratio=SHARES,
    cache_hit_rate=SHARES,
    window_7d_pct=st.none() | SHARES,
    minutes_to_limit=st.none() | st.floats(1e-6, 1e6),
    fuel_source=st.sampled_from(["plan", "ceiling", None]),
    account=st.none() | st.text(max_size=16),
    window_5h_resets_at=st.none() | st.text(max_size=32) | st.floats(NOW, NOW + 18000).map(stamp),
    hot=st.booleans(),
    waiting=st.none() | st.booleans(),
    last_model=st.text(max_size=24),
)


@given(st.lists(MEMBERS, max_size=12))
def test_any_nodes_make_a_payload(members: list[Member]) -> None:
    """Whatever the nodes say, the merged payload keeps the contract's bounds and its size."""
    payload = merge(members, NOW, REDLINE)

    assert Usage.model_validate_json(payload.to_json()) == payload
    assert payload.rate_1m >= max((m.usage.rate_1m for m in members if m.live), default=0) - 1e-3
    assert payload.window_7d_tokens is None or payload.window_7d_tokens >= payload.window_5h_tokens


def test_largest_payload() -> None:
    """The longest values that nodes can send still fit a microcontroller's buffer."""
    longest = member(
        "n" * 40,
        rate_1m=MAX_COUNT / 3,
        hot=True,
        window_5h_tokens=MAX_COUNT,
        window_7d_tokens=MAX_COUNT,
        window_5h_pct=1 / 3,
        thinking_ratio=1 / 3,
        cache_hit_rate=1 / 3,
        window_7d_pct=1 / 3,
        window_7d_resets_at="x" * 32,
        window_5h_resets_at="x" * 32,
        minutes_to_limit=123456.7,
        fuel_source="ceiling",
        account="a" * 16,
        last_model="m" * 24,
    )
    silent = [member(f"s{n}", state=State.SILENT) for n in range(999)]

    assert len(merged(longest, *silent).to_json()) < MAX_BYTES


def test_limit_is_unknown_where_a_working_node_knows_none() -> None:
    """A node whose block is not the plan's window names no minutes: nor can all nodes together."""
    plan: dict[str, Any] = {"fuel_source": "plan", "window_5h_pct": 0.5, "rate_1m": 1e6, "idle": False}
    knows = member("a", **plan, window_5h_tokens=10_000_000, minutes_to_limit=10)
    payload = merged(knows, member("b", **plan, window_5h_tokens=100))

    assert (payload.minutes_to_limit, payload.limit_before_reset) == (None, None)


RESET = stamp(NOW + 3600)


def worked(node: str, share: float, **changes: Any) -> Member:  # noqa: ANN401 - any field
    """A node whose share of the running window is the plan's."""
    window: dict[str, Any] = {"window_5h_pct": share, "fuel_source": "plan", "window_5h_resets_at": RESET}
    return member(node, **{**window, **changes})


@pytest.mark.parametrize("state", [State.OFF, State.LOST, State.SILENT])
def test_a_machine_that_is_shut_down_leaves_what_it_used(state: State) -> None:
    """Rates and lamps leave with a node; its tokens and its newer plan figure stay until that window's reset."""
    laptop = worked(
        "laptop", 0.7, state=state, plan_moved_at=NOW - 60, window_5h_tokens=600, window_7d_tokens=900, rate_1m=50,
        idle=False, hot=True, waiting=True, last_model="opus", moved_at=NOW,
    )  # fmt: skip
    payload = merged(worked("desk", 0.1, window_5h_tokens=100, window_7d_tokens=100, last_model="haiku"), laptop)

    assert (payload.window_5h_pct, payload.window_5h_tokens, payload.window_7d_tokens) == (0.7, 700, 1000)
    assert (payload.rate_1m, payload.hot, payload.waiting, payload.idle, payload.last_model) == (
        0,
        False,
        None,
        True,
        "haiku",
    )


def test_all_machines_are_off() -> None:
    """When the last machine goes, the window's figures stay: unknown is not zero."""
    payload = merged(worked("laptop", 0.7, state=State.OFF, window_5h_tokens=600, window_7d_pct=0.3))

    assert (payload.window_5h_pct, payload.window_5h_tokens, payload.fuel_source) == (0.7, 600, "plan")
    assert (payload.stall, payload.sources["nodes"].why) == (True, "no node is on")


def test_window_of_an_absent_machine_resets() -> None:
    """After the reset the absent machine counts nothing any more."""
    laptop = worked("laptop", 0.7, state=State.OFF, window_5h_tokens=600, window_5h_resets_at=stamp(NOW - 1))
    payload = merged(worked("desk", 0.1, window_5h_tokens=100), laptop)

    assert (payload.window_5h_pct, payload.window_5h_tokens) == (0.1, 100)


def test_ceiling_share_of_an_absent_machine() -> None:
    """Shares of the ceiling add up over machines that are on and those that were."""
    payload = merged(
        worked("desk", 0.25, fuel_source="ceiling"), worked("laptop", 0.5, fuel_source="ceiling", state=State.LOST)
    )

    assert (payload.window_5h_pct, payload.fuel_source) == (0.75, "ceiling")


def test_how_nodes_went() -> None:
    """Goodbye, crash and sleep are distinguished; a goodbye is no trouble."""
    desk = worked("desk", 0.1)
    off, lost, silent = (worked(state.name, 0.1, state=state) for state in (State.OFF, State.LOST, State.SILENT))

    assert merged(desk, off).sources["nodes"] == Part(source="1 node", ok=True, why="1 off")
    assert merged(desk, lost).sources["nodes"] == Part(source="1 node", ok=False, why="1 lost")
    assert merged(desk, off, lost, silent, silent).sources["nodes"].why == "1 lost, 2 silent, 1 off"


def test_newest_plan_figure_may_fall() -> None:
    """Of two nodes in one window the figure that was reported last counts, also when it is the lower one."""
    payload = merged(worked("a", 0.85, plan_moved_at=NOW - 600), worked("b", 0.17, plan_moved_at=NOW - 5))

    assert payload.window_5h_pct == 0.17


def test_wrong_clock_does_not_take_over() -> None:
    """A window that ends later than any window can is a wrong clock: it neither shows nor stays."""
    far = stamp(NOW + FIVE_HOUR_RESET_S + 1)
    payload = merged(worked("desk", 0.2), worked("odd", 0.9, window_5h_resets_at=far, window_7d_pct=0.9,
                                               window_7d_resets_at="9999-01-01T00:00:00Z"))  # fmt: skip

    assert (payload.window_5h_pct, payload.window_7d_pct) == (0.2, None)


def test_guess_without_a_source_lights_nothing() -> None:
    """A share that nodes only keep from before drives no lamp of the fleet."""
    payload = merged(member("a", window_5h_pct=0.95))

    assert (payload.warn, payload.limit_before_reset) == (False, None)


def test_fullest_limit_is_the_newest_news() -> None:
    """The limit that stops work first comes from the node that received of the plan last."""
    payload = merged(
        worked("a", 0.4, limit_name="seven_day_opus", limit_pct=1.0, plan_moved_at=NOW - 5),
        worked("b", 0.4, limit_name="seven_day", limit_pct=0.6, plan_moved_at=NOW - 600),
    )

    assert (payload.limit_name, payload.limit_pct) == ("seven_day_opus", 1.0)


@pytest.mark.parametrize(
    ("name", "five_hours", "shown"),
    [("five_hour", -60, None), ("five_hour", 600, 1), ("seven_day_opus", -60, 1), ("spend_limit", -60, 1)],
)
def test_limit_of_a_node_that_is_gone_ends_with_its_window(name: str, five_hours: int, shown: int | None) -> None:
    """A laptop that was shut down at its limit reports that until the window of the limit resets, not for a week."""
    ends: dict[str, Any] = {
        "window_5h_resets_at": stamp(NOW + five_hours), "window_7d_resets_at": stamp(NOW + 86400),
        "window_7d_pct": 0.4, "fuel_source": "plan", "window_5h_pct": 1, "limit_name": name, "limit_pct": 1,
    }  # fmt: skip
    payload = merged(member("desk"), member("laptop", state=State.OFF, **ends))

    assert payload.limit_pct == shown
