from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.payloads import at_rest as usage

from claude_gauge.contract import scales
from claude_gauge.contract.usage import Usage
from gauge.needle import Ramp


def test_four_gauges_left_to_right() -> None:
    """The gauges stand in the order and with the labels of the physical cluster."""
    labels = [gauge.label for gauge in scales.gauges(1_000_000)]

    assert labels == ["5H PLAN", "TOKENS/MIN", "THINKING/OUTPUT", "CACHE HIT"]


def test_fields_exist_in_the_contract() -> None:
    """Every gauge and lamp shows a field of the payload."""
    shown = {gauge.field for gauge in scales.gauges(1_000_000, 0.5)} | {lamp.field for lamp in scales.LAMPS}

    assert shown <= set(Usage.model_fields)


def test_redline_inside_the_scale() -> None:
    """The tachometer's red zone begins at the redline and fills the end of the scale."""
    tach = scales.gauges(1_000_000)[1]

    assert tach.zones == (scales.Zone(1_000_000, 1_250_000, "danger"),)
    assert [tick.figure for tick in tach.majors] == ["0", "250", "500", "750", "1000", "1250"]


@given(st.floats(1, 1e12))
def test_any_redline_gives_a_readable_face(redline: float) -> None:
    """Whatever the redline, there are few enough figures, short ones, and a red zone worth seeing."""
    tach = scales.gauges(redline)[1]

    assert 3 <= len(tach.majors) <= 6
    assert 1.2 * redline <= tach.high <= 2.6 * redline
    assert tach.majors[-1].value == pytest.approx(tach.high)
    assert len({tick.figure for tick in tach.majors}) == len(tach.majors)
    assert all(len(tick.figure) <= 6 for tick in tach.majors)


@given(st.floats(0, 1e15))
def test_share_stays_on_the_scale(rate: float) -> None:
    """No value points the needle off its scale."""
    share = scales.gauges(1_000_000)[1].of(usage(rate_1m=rate))
    assert share is not None

    assert 0 <= share <= 1
    assert 0 < scales.step(share) < scales.STEPS


def test_rest_is_below_zero() -> None:
    """A needle at rest stands on the stop, visibly below the zero mark."""
    assert (scales.step(None), scales.angle(None)) == (0, -155)
    assert (scales.step(0), scales.angle(0)) == (60, -135)
    assert (scales.step(1), scales.angle(1)) == (870, 135)


def test_roles_follow_the_zones() -> None:
    """A value takes the colour of its zone, and one beyond the scale that of the last."""
    fuel, tach, heat, boost = scales.gauges(1_000_000, 0.4)

    assert [fuel.role(0.5), fuel.role(0.8), fuel.role(1)] == [None, "caution", "danger"]
    assert [tach.role(999_999), tach.role(1_000_000), tach.role(9e9)] == [None, "danger", "danger"]
    assert [heat.role(0.1), heat.role(0.3), heat.role(0.7), heat.role(0.9)] == ["cool", "good", "caution", "danger"]
    assert [boost.role(0.1), boost.role(0.6), boost.role(0.9)] == ["caution", None, "good"]


@pytest.mark.parametrize("floor", [None, 0.0, 0.3, 0.9, 1.0])
def test_floor_leaves_no_empty_zone(floor: float | None) -> None:
    """Whatever the cache floor, each zone of the boost gauge has a width."""
    zones = scales.gauges(1_000_000, floor)[3].zones

    assert zones
    assert all(zone.start < zone.end for zone in zones)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (842.4, "842"),
        (999.4, "999"),
        (999.5, "1.00 k"),
        (12_449, "12.4 k"),
        (99_950, "100 k"),
        (999_500, "1.00 M"),
        (1_240_000, "1.24 M"),
        (7e15, "7000 T"),
    ],
)
def test_counts_in_three_figures(count: float, text: str) -> None:
    """A count is written short, and rounding never shows four digits below the next prefix."""
    assert scales.short(count) == text


def test_model_lamp() -> None:
    """MODEL is red for Opus, amber for Sonnet, green for Haiku, one other colour for any family, dark for none."""
    model = scales.LAMPS[0]
    shines = [model.shines(usage(last_model=name)) for name in ("opus", "sonnet", "haiku", "fable", "mythos", "")]

    assert shines == ["#ff3b30", "#ffb000", "#34d058", "#b18cff", "#b18cff", None]


def test_same_ramp_as_the_firmware() -> None:
    """Speed for speed a needle on the screen takes as long as the one on the movement."""
    firmware = Ramp()

    assert [scales.wait_us(speed) for speed in range(1, scales.TOP_SPEED + 1)] == list(firmware.waits)[1:]


def test_plain_data() -> None:
    """The export holds nothing but JSON: a page or a board can read it."""
    exported = scales.as_json(1_000_000, 0.5)

    assert json.loads(json.dumps(exported, allow_nan=False)) == json.loads(json.dumps(exported))
    assert math.isclose(exported["gauges"][1]["high"], 1_250_000)
