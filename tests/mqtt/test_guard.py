from __future__ import annotations

from claude_gauge.mqtt.guard import EPISODE_S, REPAIR_S, Guard, Repairs, Verdict

STATUS, USAGE = "claude-gauge/n/status", "claude-gauge/n/usage"


def guard() -> Guard:
    """A guard that has seen us say something on both topics."""
    made = Guard(STATUS)
    made.said(STATUS, b"online")
    made.said(USAGE, b'{"updated_at": 1}')
    return made


def test_own_words_are_known() -> None:
    """Our own words, also those of a little while ago, are ours."""
    own = guard()
    for number in range(60):
        own.said(USAGE, b"%d" % number)

    assert {own.judge(USAGE, b"%d" % number, 0) for number in range(60)} == {Verdict.OURS}


def test_other_topics_are_nobody_elses_business() -> None:
    """A topic on which we said nothing is not guarded."""
    assert guard().judge("claude-gauge/n/alert", b"x", 0) is Verdict.OURS


def test_rival_episode_ends() -> None:
    """A rival is one until it was silent for four heartbeats."""
    own = guard()

    assert own.judge(USAGE, b'{"updated_at": 2}', 100) is Verdict.RIVAL
    assert own.rival(100 + EPISODE_S - 1)
    assert not own.rival(100 + EPISODE_S)


def test_deeply_nested_garbage() -> None:
    """Garbage made to break a parser is garbage."""
    assert guard().judge(USAGE, b"[" * 100_000, 0) is Verdict.REPAIR


def test_repairs_keep_their_distance() -> None:
    """A topic is put right at once, and then once a second at most."""
    repairs = Repairs()
    repairs.want("a", 100)
    first = repairs.take(100)
    repairs.want("a", 100.2)
    repairs.want("a", 100.9)

    assert first == ["a"]
    assert repairs.take(100.9) == []
    assert repairs.next(999) == 100 + REPAIR_S
    assert repairs.take(100 + REPAIR_S) == ["a"]
    assert repairs.next(999) == 999
