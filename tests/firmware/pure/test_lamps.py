"""Colours of the lamps. Runs under CPython and under MicroPython."""

from gauge import lamps
from gauge.usage import REST


def show(now_ms: int = 0, *, stale: bool = False, linked: bool = True, **changes: object) -> list:
    """Return the colours for a payload that is at rest but for some fields."""
    usage = dict(REST, stall=False, waiting=False, limit_before_reset=False)
    usage.update(changes)
    return lamps.colours(usage, now_ms, stale=stale, linked=linked)


def test_model_by_family() -> None:
    """Opus is red, Sonnet amber, Haiku green, any other family one colour of its own; dark where none was seen."""
    shown = [show(last_model=family)[0] for family in ("opus", "sonnet", "haiku", "fable", "mythos", "")]

    assert shown == [lamps.RED, lamps.AMBER, lamps.GREEN, lamps.VIOLET, lamps.VIOLET, lamps.OFF]


def test_each_lamp_has_its_field() -> None:
    """HOT is red, WARN amber, STALL blue, and each is dark without its field."""
    assert show(hot=True)[1:] == [lamps.RED, lamps.OFF, lamps.OFF, lamps.OFF]
    assert show(warn=True)[1:] == [lamps.OFF, lamps.AMBER, lamps.OFF, lamps.OFF]
    assert show(stall=True)[1:] == [lamps.OFF, lamps.OFF, lamps.BLUE, lamps.OFF]
    assert show() == [lamps.OFF] * 5


def test_idle_pulses_softly() -> None:
    """IDLE swells and fades without a jump, and never quite goes out."""
    greens = [show(now_ms, idle=True)[4][1] for now_ms in range(0, 2 * lamps.PULSE_MS, 33)]

    assert min(greens) > 0
    assert max(greens) == 255
    assert max([abs(after - before) for before, after in zip(greens, greens[1:])]) < 16


def test_waiting_pulses_white() -> None:
    """While Claude Code waits for the person, MODEL pulses white whatever the family."""
    top = show(lamps.WAITING_MS // 2, waiting=True, last_model="opus")[0]

    assert top == lamps.WHITE
    assert show(0, waiting=True, last_model="opus")[0] == lamps.OFF


def test_dry_before_reset_flashes() -> None:
    """A window that runs dry before it resets makes WARN flash, warned or not."""
    shown = [show(now_ms, limit_before_reset=True)[2] for now_ms in (0, lamps.FLASH_MS, 2 * lamps.FLASH_MS)]

    assert shown == [lamps.AMBER, lamps.OFF, lamps.AMBER]


def test_stale_is_stall_alone() -> None:
    """Of stale data nothing is shown but STALL: steady, or flashing where our own link is down."""
    old: dict = {"stale": True, "hot": True, "warn": True, "idle": True, "last_model": "opus"}

    assert show(0, **old) == [lamps.OFF, lamps.OFF, lamps.OFF, lamps.BLUE, lamps.OFF]
    assert show(lamps.FLASH_MS, linked=True, **old)[3] == lamps.BLUE
    assert show(lamps.FLASH_MS, linked=False, **old)[3] == lamps.OFF


def test_night_hours() -> None:
    """Within the night it is dimmer, also where the night passes midnight."""
    over = [22 * 60, 7 * 60, 0.1]
    within = [60, 300, 0.2]

    assert [lamps.brightness(1, over, minute) for minute in (0, 419, 420, 1319, 1320)] == [0.1, 0.1, 1, 1, 0.1]
    assert [lamps.brightness(1, within, minute) for minute in (0, 60, 299, 300)] == [1, 0.2, 0.2, 1]
    assert lamps.brightness(1, over, None) == 1
    assert lamps.brightness(1, None, 0) == 1


def test_shades_keep_to_bytes() -> None:
    """Every colour at every level stays within a byte."""
    for colour in (lamps.WHITE, lamps.AMBER, lamps.VIOLET):
        for level in range(101):
            assert all([0 <= part <= 255 for part in lamps.shade(colour, level / 100)])
    assert lamps.shade(lamps.WHITE, 1) == lamps.WHITE
    assert lamps.shade(lamps.WHITE, 0) == lamps.OFF
