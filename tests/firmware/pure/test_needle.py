"""Motion of one needle. Runs under CPython and under MicroPython: nothing here but what both have."""

from random import getrandbits

from gauge.needle import KNOWN_GOOD, SEGMENT_US, Needle, Ramp


def random(below: int) -> int:
    """Return a number from 0 on, below a limit."""
    return getrandbits(24) % below


def play(needle: Needle, limit_us: int = SEGMENT_US, most: int = 1000) -> list:
    """Move until it rests, and return the segments."""
    segments: list = []
    while len(segments) < most:
        segment = needle.segment(limit_us)
        if segment is None:
            return segments
        segments.append(segment)
    raise AssertionError("it never came to rest")


def test_exact_after_any_sequence_of_targets() -> None:
    """Wherever it was sent, and sent elsewhere on the way, it ends exactly where it was sent last."""
    for _ in range(1000):
        needle = Needle(Ramp(4))
        at, target = 0, 0
        for _ in range(1 + random(8)):
            target = random(needle.last + 1)
            needle.point(target)
            for _ in range(random(6)):
                segment = needle.segment()
                if segment:
                    at += segment[0] * len(segment[1])
                assert 0 <= at <= needle.last
        at += sum([way * len(waits) for way, waits in play(needle)])

        assert at == needle.at == target


def test_never_past_an_end() -> None:
    """A target beyond an end is that end, and no retargeting carries it further."""
    needle = Needle(Ramp(4))
    needle.point(99_999)
    for _ in range(5):
        needle.segment()
    needle.point(-5)
    play(needle)
    assert needle.at == 0

    needle.point(99_999)
    play(needle)
    assert needle.at == needle.last


def test_segments_start_and_end_slowly() -> None:
    """Whoever is late for the next segment costs no position: each one may start and stop dead."""
    slow_us = KNOWN_GOOD[0][1] // 4
    needle = Needle(Ramp(4))
    for _ in range(300):
        needle.point(random(needle.last + 1))
        for _ in range(random(4)):
            segment = needle.segment()
            if segment:
                waits = segment[1]
                assert waits[0] == slow_us
                assert waits[-1] >= slow_us * 0.99
                assert sum(waits) <= SEGMENT_US


def test_no_step_is_quicker_than_known_good() -> None:
    """At no speed is a step quicker than the ramp that the movement is known to follow."""
    for finer in (1, 4):
        ramp = Ramp(finer, 600)
        assert ramp.top == KNOWN_GOOD[-1][0] * finer
        for speed in range(1, ramp.top + 1):
            known_us = next(us for steps, us in KNOWN_GOOD if speed <= steps * finer)

            assert ramp.waits[speed] * finer >= known_us


def test_speed_changes_one_by_one() -> None:
    """Neighbouring waits are neighbours on the ramp, also where a new target turns it round."""
    needle = Needle(Ramp(4))
    waits = list(needle.ramp.waits)
    for _ in range(200):
        needle.point(random(needle.last + 1))
        segment = needle.segment()
        if segment:
            speeds = [waits.index(wait) for wait in segment[1]]
            for before, after in zip(speeds, speeds[1:]):
                assert abs(after - before) <= 1 or max(before, after) <= needle.ramp.slow + 1


def test_homing_ignores_targets_until_done() -> None:
    """While it looks for its stop, a target waits; then it goes there."""
    needle = Needle(Ramp(4))
    needle.home()
    needle.point(1000)
    way, waits = needle.segment() or (0, [])
    assert way == -1
    down = len(waits)
    segments = play(needle)
    down += sum([len(waits) for way, waits in segments if way < 0])

    assert down >= needle.last
    assert needle.at == 1000
    assert sum([len(waits) for way, waits in segments if way > 0]) == 1000


def test_homing_is_gentle() -> None:
    """No step of the way to the stop is quicker than one that may start and stop dead: the needle may stand there."""
    needle = Needle(Ramp(4))
    needle.home()
    needle.point(2000)
    segments = play(needle)
    slow_us = KNOWN_GOOD[0][1] // 4
    down = [wait for way, waits in segments if way < 0 for wait in waits]

    assert min(down) >= slow_us * 0.99
    assert sum(down) < 4_000_000
    assert min([wait for way, waits in segments if way > 0 for wait in waits]) < slow_us * 0.7


def test_direct_drive_keeps_one_safe_speed() -> None:
    """One step at a time, at a speed that may start and stop dead, and no overshoot when turned round."""
    needle = Needle(Ramp(1, 3000))
    needle.point(500)
    for _ in range(100):
        assert needle.segment(3000) == (1, [3000])
    needle.point(90)

    assert needle.segment(3000) == (-1, [3000])
    assert len(play(needle, 3000)) == 9


def test_segment_that_was_not_played() -> None:
    """A segment that found no room to be played is taken back, and the way made good by the next."""
    needle = Needle(Ramp(4))
    needle.point(1000)
    needle.segment()
    at = needle.at
    way, waits = needle.segment() or (0, [])
    needle.undo(way, len(waits))
    assert needle.at == at

    assert sum([way * len(waits) for way, waits in play(needle)]) == 1000 - at


def test_full_sweep_takes_about_two_seconds() -> None:
    """A whole sweep at power-on is a matter of seconds."""
    needle = Needle(Ramp(4))
    needle.point(needle.last)

    assert 1.5e6 < sum([sum(waits) for _, waits in play(needle)]) < 2.5e6
