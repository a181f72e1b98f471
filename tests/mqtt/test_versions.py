from __future__ import annotations

import itertools

from claude_gauge.mqtt.endpoint import FIVE, REPLACED, THREE, Backoff, Versions


def test_five_comes_first() -> None:
    """A broker is first tried with MQTT 5, and again after each good connection."""
    versions = Versions()
    first = versions.next
    versions.spoken(FIVE)

    assert (first, versions.next) == (FIVE, FIVE)


def test_plain_refusal_is_remembered() -> None:
    """A broker that says it knows no MQTT 5 is asked with 3.1.1 from then on."""
    versions = Versions()

    assert versions.refused(FIVE, plainly=True)
    versions.spoken(THREE)
    assert versions.next == THREE


def test_one_mute_refusal_is_not_remembered() -> None:
    """A broker that closed once without a word may have been about to restart: 5 is tried again."""
    versions = Versions()

    assert versions.refused(FIVE, plainly=False)
    assert versions.next == THREE
    versions.spoken(THREE)
    assert versions.next == FIVE


def test_two_mute_refusals_are_remembered() -> None:
    """A broker that closes on MQTT 5 twice, and speaks 3.1.1 each time, speaks only that."""
    versions = Versions()
    for _ in range(2):
        versions.refused(versions.next, plainly=False)
        versions.spoken(THREE)

    assert versions.next == THREE


def test_proven_broker_is_not_doubted() -> None:
    """A broker that spoke MQTT 5 before is frozen or restarting when it says nothing, not older."""
    versions = Versions()
    versions.spoken(FIVE)

    assert not versions.refused(FIVE, plainly=False)
    assert versions.next == FIVE


def test_replaced_broker_is_asked_anew() -> None:
    """A broker that spoke MQTT 5 and has since been replaced by one that falls silent at it is reached with 3.1.1."""
    versions = Versions()
    versions.spoken(FIVE)
    refused = [versions.refused(FIVE, plainly=False) for _ in range(REPLACED)]

    assert refused == [False] * (REPLACED - 1) + [True]
    assert versions.next == THREE


def test_refusal_of_both_begins_anew() -> None:
    """When 3.1.1 is refused too, there is a pause, and 5 comes first again."""
    versions = Versions()
    versions.refused(FIVE, plainly=True)

    assert not versions.refused(THREE, plainly=False)
    assert versions.next == FIVE


def test_waits_grow_to_their_limit() -> None:
    """Waits double, stay under their limit for ever, and are never in step."""
    backoff = Backoff()
    waits = [backoff.wait_s(refused=False) for _ in range(1000)]

    assert waits[0] <= backoff.first_s
    assert 1 < max(waits) <= backoff.most_s
    assert all(wait > 0 for wait in waits)
    assert len({*waits[10:]}) > 900


def test_refusals_wait_longer() -> None:
    """A wrong password is tried at a gentler pace."""
    backoff = Backoff()
    waits = [backoff.wait_s(refused=True) for _ in range(50)]

    assert backoff.most_s < max(waits) <= backoff.refused_most_s


def test_good_connection_resets_the_wait() -> None:
    """After a connection that held, the first wait is short again."""
    backoff = Backoff()
    for _ in itertools.repeat(None, 20):
        backoff.wait_s(refused=False)
    backoff.reset()

    assert backoff.wait_s(refused=False) <= backoff.first_s
