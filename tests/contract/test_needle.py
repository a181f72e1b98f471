from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.contract.needle import Needle
from claude_gauge.contract.scales import STEPS, TOP_SPEED, step
from gauge.needle import Needle as Firmware
from gauge.needle import Ramp

shares = st.none() | st.floats(0, 1)


def test_arrives_and_rests() -> None:
    """A needle goes where it is pointed, stands still there, and says so."""
    needle = Needle()
    needle.point(0.5)
    while needle.advance(16_667):
        pass

    assert needle.at == step(0.5)
    assert needle.step() is None


@given(st.lists(st.tuples(shares, st.integers(0, 300)), max_size=20))
def test_never_leaves_the_sweep(orders: list[tuple[float | None, int]]) -> None:
    """However often it is sent elsewhere on its way, it stays between the stops and changes speed by one."""
    needle = Needle()
    speed = 0
    for share, steps in orders:
        needle.point(share)
        for _ in range(steps):
            way = needle._way
            needle.step()

            assert 0 <= needle.at < STEPS
            assert abs(needle._speed - speed) <= 1 or (needle._way != way and needle._speed == 1)
            assert needle._speed <= TOP_SPEED
            speed = needle._speed


def test_same_way_as_the_firmware() -> None:
    """A needle on the screen makes the steps that the firmware's makes, in the same order, reported the same."""
    board, screen = Firmware(Ramp()), Needle()
    for share in (0.9, 0.1, None, 1.0):
        board.point(step(share))
        screen.point(share)
        way = []
        while moved := board.segment():
            way += [moved[0]] * len(moved[1])
        seen = []
        before = screen.at
        while screen.step() is not None:
            seen.append(screen.at - before)
            before = screen.at

        assert seen == way
        assert screen.at == board.at


def test_full_sweep_in_a_second_or_two() -> None:
    """A full sweep takes as long as the movement needs for it."""
    needle = Needle()
    needle.point(1)
    took = 0
    while (wait := needle.step()) is not None:
        took += wait

    assert 1e6 < took < 2e6
