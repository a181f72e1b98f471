"""Payloads and whether to believe them. Runs under CPython and under MicroPython."""

import json

from gauge.usage import MAX_BYTES, REST, STALE_MS, Freshness, epoch, parse

GOOD = dict(REST, rate_1m=1.5, window_5h_pct=0.25, last_model="opus", updated_at="2026-11-23T12:00:00.000Z")
NOON_S = 1_795_435_200


def changed(**changes: object) -> bytes:
    """Write a good payload with some fields changed; `absent` names one that is left out."""
    payload = dict(GOOD)
    payload.update(changes)
    payload.pop(str(payload.pop("absent", "")), None)
    return json.dumps(payload).encode()


def test_good_payload() -> None:
    """A good payload comes out as it went in; absent extras are off, unknown fields are ignored."""
    usage = parse(changed(waiting=True, from_the_future={"a": [1, 2]}))

    assert usage == dict(GOOD, waiting=True, limit_before_reset=False)


def test_extras_of_the_wrong_kind_are_off() -> None:
    """An extra that is null or nonsense lights no lamp and costs no payload."""
    usage = parse(changed(waiting=None, limit_before_reset="yes"))

    assert usage is not None
    assert (usage["waiting"], usage["limit_before_reset"]) == (False, False)


def test_whole_numbers_do() -> None:
    """JSON writes 1.0 as 1: both are numbers."""
    usage = parse(changed(rate_1m=12, window_5h_pct=1))

    assert usage is not None
    assert (usage["rate_1m"], usage["window_5h_pct"]) == (12, 1)


def test_garbage_is_no_payload() -> None:
    """What is no payload is None, whatever it is, and never an exception."""
    for bad in (
        b"",
        b"null",
        b"[]",
        b"{",
        b'"text"',
        b"\xff\xfe",
        b'{"rate_1m": "\xff"}',
        bytes(MAX_BYTES + 1),
        b"[" * 1000,
        b'{"a":' * 150,
        changed()[:-1],
        changed() + b"}",
        changed() + b" " * MAX_BYTES,
        changed(absent="rate_1m"),
        changed(absent="stall"),
        changed(rate_1m="12"),
        changed(rate_1m=None),
        changed(rate_1m=True),
        changed(rate_1m=-1),
        changed(rate_1m=float("inf")),
        changed(rate_1m=float("nan")),
        changed(window_5h_pct=1.01),
        changed(window_5h_pct=-0.01),
        changed(hot=1),
        changed(last_model=7),
        changed(updated_at=None),
    ):
        assert parse(bad) is None, bad


def test_epoch() -> None:
    """Times in the contract's form, with other zones and without fractions, over leap days and centuries."""
    assert epoch("2026-11-23T12:00:00.000Z") == NOON_S
    assert epoch("2026-11-23T13:30:00+01:30") == NOON_S
    assert epoch("2026-11-23T07:00:00.123456-05:00") == NOON_S
    assert epoch("1970-01-01T00:00:00Z") == 0
    assert epoch("2000-02-29T23:59:59Z") == 951_868_799
    assert epoch("2028-02-29T00:00:00Z") == 1_835_395_200
    assert epoch("2100-03-01T00:00:00Z") == 4_107_542_400
    for bad in ("", "yesterday", "2026-13-01T00:00:00Z", "2026-11-23T12:00:00", "2026-11-00T00:00:00Z"):
        assert epoch(bad) is None, bad


def stamp(second: int) -> str:
    """Return a time some seconds after noon."""
    return f"2026-11-23T12:{second // 60:02d}:{second % 60:02d}.000Z"


def test_nothing_heard_is_stale() -> None:
    """At the start there is nothing to show."""
    assert Freshness().stale(0)


def test_live_payload_is_fresh_for_three_heartbeats() -> None:
    """A payload that came while we listened holds for three heartbeats, and no longer."""
    freshness = Freshness()
    freshness.received(stamp(0), 1000, retained=False, utc_s=None)

    assert not freshness.stale(1000 + STALE_MS)
    assert freshness.stale(1001 + STALE_MS)


def test_retained_payload_needs_a_clock() -> None:
    """A retained payload says nothing without the time; with it, its age counts."""
    freshness = Freshness()
    freshness.received(stamp(0), 0, retained=True, utc_s=None)
    assert freshness.stale(0)

    freshness.received(stamp(0), 0, retained=True, utc_s=NOON_S + 30)
    assert not freshness.stale(0)
    assert freshness.stale(15_001)

    freshness.received(stamp(0), 100_000, retained=True, utc_s=NOON_S + 46)
    assert freshness.stale(100_000)


def test_retained_payload_of_yore_is_stale() -> None:
    """After a reconnect an old retained payload looks fresh; it is not."""
    freshness = Freshness()
    freshness.received(stamp(0), 0, retained=False, utc_s=None)
    freshness.received(stamp(0), 600_000, retained=True, utc_s=NOON_S + 600)

    assert freshness.stale(600_000)


def test_garbled_stamp_vouches_for_nothing() -> None:
    """A retained payload whose time makes no sense is not believed."""
    freshness = Freshness()
    freshness.received("soon", 0, retained=True, utc_s=NOON_S)

    assert freshness.stale(0)


def test_retained_payload_from_the_future() -> None:
    """A retained payload of tomorrow comes from a wrong clock: it is not believed; a little ahead is."""
    freshness = Freshness()
    freshness.received(stamp(0), 0, retained=True, utc_s=NOON_S - 86_400)
    assert freshness.stale(0)

    freshness.received(stamp(0), 0, retained=True, utc_s=NOON_S - 5)
    assert not freshness.stale(0)


def test_repeats_renew_nothing() -> None:
    """The same payload again and again, as a mad bridge sends it, grows old all the same."""
    freshness = Freshness()
    for now_ms in range(0, STALE_MS + 2000, 1000):
        freshness.received(stamp(0), now_ms, retained=False, utc_s=None)

    assert freshness.stale(STALE_MS + 1000)


def test_offline_is_stale_at_once() -> None:
    """The publisher's last will counts at once; it comes back by `online` and a payload, or by a live payload."""
    freshness = Freshness()
    freshness.received(stamp(0), 0, retained=False, utc_s=None)
    freshness.status(b"offline")
    assert freshness.stale(1)

    freshness.received(stamp(1), 1, retained=False, utc_s=None)
    assert not freshness.stale(2)

    freshness.status(b"offline")
    freshness.status(b"online")
    assert not freshness.stale(3)


def test_retained_payload_does_not_undo_offline() -> None:
    """A publisher that is gone stays gone, however new its last payload is."""
    freshness = Freshness()
    freshness.status(b"offline")
    freshness.received(stamp(0), 0, retained=True, utc_s=NOON_S)

    assert freshness.stale(0)
