from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.counting.ledger import Counted, Ledger
from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.settled import file_apart
from claude_gauge.counting.turn import Turn

AT = 1_763_900_000.0
DAY = 86400.0
TURN = Turn(
    at=AT, message_id="m", request_id="r", line_id="l", model="claude-opus-5-5", sidechain=False,
    input=5, output=100, cache_read=1000, cache_creation=50, thinking=20,
)  # fmt: skip


def _count(*turns: Turn) -> Tokens:
    ledger, total = Ledger(), Tokens()
    for turn in turns:
        for before, after in ledger.add(turn):
            total = total - (before.tokens if before else Tokens()) + (after.tokens if after else Tokens())
    return total


def test_response_of_many_lines_counts_once() -> None:
    """One line per content block, each with the same usage: one response."""
    assert _count(TURN, TURN._replace(at=AT + 2, line_id="l2"), TURN._replace(at=AT + 4)) == Tokens(
        5, 100, 1000, 50, 20
    )


def test_later_line_that_raises_a_figure_moves_the_response() -> None:
    """Older versions wrote early lines with a smaller output: the whole response counts at the later line's time."""
    ledger = Ledger()
    ledger.add(TURN._replace(output=3, thinking=0))
    ((before, after),) = ledger.add(TURN._replace(at=AT + 9))

    assert before == Counted(AT, Tokens(5, 3, 1000, 50, 0), estimated=False, filed_at=AT, total=1058)
    assert after == Counted(AT + 9, Tokens(5, 100, 1000, 50, 20), estimated=False, filed_at=AT + 9, total=1155)


def test_smaller_line_read_later_changes_nothing() -> None:
    """The order in which files are read does not matter: the largest figure stays."""
    ledger = Ledger()
    ledger.add(TURN)

    assert ledger.add(TURN._replace(at=AT - 3, output=2)) == ()


def test_response_belongs_to_the_moment_it_ended() -> None:
    """A later line with the same figures moves the response; its place in the blocks stays, as in ccusage."""
    ledger = Ledger()
    ledger.add(TURN)
    ((_, after),) = ledger.add(TURN._replace(at=AT + 69))

    assert after
    assert (after.ended, after.filed_at) == (AT + 69, AT)
    assert ledger.add(TURN) == ()


def test_advisor_counts_with_its_response() -> None:
    """What other models used for advice is part of the response, the larger of what its lines say."""
    advised = TURN._replace(advisor=Tokens(1000, 30))

    assert _count(advised, advised, TURN._replace(at=AT + 1)) == Tokens(1005, 130, 1000, 50, 20)


def test_replay_under_another_request_counts_once() -> None:
    """A sidechain repeats a message of the main chain, time and all, under a request id of its own: one response."""
    lines = [TURN._replace(at=AT + n) for n in (0, 3)]
    replay = [line._replace(request_id="r2", sidechain=True, output=500) for line in lines]
    for turns in ([*lines, *replay], [*replay, *lines], [lines[0], replay[1], replay[0], lines[1]]):
        assert _count(*turns, *turns) == Tokens(5, 100, 1000, 50, 20)


def test_replay_of_a_settled_response_counts_once() -> None:
    """Also when one of the two was settled before the other is read, in either order."""
    replay = TURN._replace(request_id="r2", sidechain=True, output=500)
    for first, second in ((TURN, replay), (replay, TURN)):
        ledger, total = Ledger(), 0
        for turn in (first, second, first, second):
            for before, after in ledger.add(turn):
                total += (after.total if after else 0) - (before.total if before else 0)
            ledger.settle(AT + DAY)

        assert total == 1155


def test_sidechain_of_another_time_is_another_response() -> None:
    """The same message id alone makes no replay: a gateway may give all messages one."""
    other = TURN._replace(request_id="r2", sidechain=True, at=AT + 1, cache_read=7)

    assert _count(TURN, other).output == 200


def test_each_field_has_its_own_maximum() -> None:
    """Two lines that are each larger in one field make a response that is larger in both."""
    assert _count(TURN._replace(input=9), TURN._replace(output=120)) == Tokens(9, 120, 1000, 50, 20)


def test_main_chain_beats_sidechain() -> None:
    """A line of the main chain replaces a sidechain's replay of it, even with a smaller total, in either order."""
    replay = TURN._replace(sidechain=True, output=500)

    assert _count(replay, TURN) == _count(TURN, replay) == Tokens(5, 100, 1000, 50, 20)


def test_same_message_of_another_request_is_another_response() -> None:
    """The key is message id and request id together."""
    assert _count(TURN, TURN._replace(request_id="r2")).output == 200


def test_missing_request_id() -> None:
    """Without a request id the message id distinguishes responses, and lines of one belong together."""
    turn = TURN._replace(request_id=None)

    assert _count(turn, turn._replace(at=AT + 5), turn._replace(message_id="m2")).output == 200


def test_missing_message_id() -> None:
    """Without a message id the request id distinguishes responses."""
    turn = TURN._replace(message_id=None)

    assert _count(turn, turn._replace(at=AT + 5), turn._replace(request_id="r2")).output == 200


def test_no_ids_at_all() -> None:
    """Without both ids the line's own id counts it once, else its time and figures do."""
    turn = TURN._replace(message_id=None, request_id=None)
    bare = turn._replace(line_id=None)

    assert _count(turn, turn, turn._replace(line_id="l2")).output == 200
    assert _count(bare, bare, bare._replace(at=AT + 1)).output == 200


def test_constant_message_id_of_a_gateway() -> None:
    """A gateway that gives every message one id and no request id: the prompt's figures distinguish them."""
    turns = [TURN._replace(request_id=None, at=AT + 60 * n, cache_read=1000 + n) for n in range(50)]

    assert _count(*turns, *turns).output == 50 * 100


def test_constant_message_id_without_prompt_figures() -> None:
    """Where the gateway gives no prompt figures either, lines further apart than a response are others."""
    turns = [TURN._replace(request_id=None, at=AT + 60 * n, input=0, cache_read=0, cache_creation=0) for n in range(50)]

    assert _count(*turns, *turns).output == 50 * 100


def test_both_ids_constant() -> None:
    """Constant ids with a request id too: a quarter of an hour later, with another prompt, it is another response."""
    turns = [TURN._replace(at=AT + 1800 * n, cache_read=1000 + n) for n in range(96)]

    assert _count(*turns, *turns).output == 96 * 100


def test_constant_id_stays_quick_and_small() -> None:
    """A gateway's constant id over days neither slows the ledger down nor keeps it from forgetting."""
    ledger = Ledger()
    for n in range(20_000):
        ledger.add(TURN._replace(request_id=None, at=AT + 30 * n, cache_read=1000 + n))
    ledger.settle(AT + 10 * DAY)
    ledger.forget(AT + 10 * DAY)

    assert len(ledger) == 0


def test_repeat_of_a_settled_response_counts_nothing() -> None:
    """A day later a fork's copy of an old line is still known; a larger one adds the difference."""
    ledger = Ledger()
    ledger.add(TURN)
    ledger.settle(AT + DAY)

    assert ledger.add(TURN) == ()
    ((before, after),) = ledger.add(TURN._replace(at=AT + 1, output=130))

    assert before is None
    assert after
    assert (after.tokens, after.total) == (Tokens(), 30)
    assert ledger.add(TURN._replace(output=130)) == ()


def test_constant_id_on_the_next_day_is_another_response() -> None:
    """A settled response of a gateway's constant id does not swallow what comes days later."""
    ledger = Ledger()
    ledger.add(TURN)
    ledger.settle(AT + 3 * DAY)
    ((_, after),) = ledger.add(TURN._replace(at=AT + 3 * DAY))

    assert after
    assert after.tokens.output == 100


def test_forgotten_days_free_their_memory() -> None:
    """What is older than the caller's horizon is dropped."""
    ledger = Ledger()
    for n in range(100):
        ledger.add(TURN._replace(message_id=f"m{n}", at=AT + n))
    ledger.settle(AT + 50)

    assert len(ledger) == 100
    ledger.forget(AT + 2 * DAY)
    assert len(ledger) == 50


def test_thinking_is_estimated_where_unknown() -> None:
    """Without a count, the thinking share is that of the content blocks' sizes, and is marked as a guess."""
    ledger = Ledger()
    ((_, first),) = ledger.add(TURN._replace(thinking=None, thought=300))
    ((_, second),) = ledger.add(TURN._replace(thinking=None, at=AT + 1, spoken=100))

    assert first
    assert second
    assert (first.estimated, first.tokens.thinking) == (True, 100)
    assert (second.estimated, second.tokens.thinking) == (True, 75)


def test_zero_beside_a_thinking_block_is_unknown() -> None:
    """A count of 0 next to a thinking block means unknown; without a block it is an exact zero."""
    ledger = Ledger()
    ((_, guessed),) = ledger.add(TURN._replace(thinking=0, thought=100, spoken=100))
    ((_, exact),) = ledger.add(TURN._replace(message_id="m2", thinking=0, spoken=100))

    assert guessed
    assert exact
    assert (guessed.estimated, guessed.tokens.thinking) == (True, 50)
    assert (exact.estimated, exact.tokens.thinking) == (False, 0)


def test_repeated_lines_do_not_move_the_estimate() -> None:
    """A fork's copies, or a file read again, leave an estimate as it was."""
    ledger = Ledger()
    lines = [TURN._replace(thinking=None, thought=300), TURN._replace(thinking=None, spoken=100)]
    for line in lines:
        ledger.add(line)

    assert [ledger.add(line) for line in (*lines, *lines[1:])] == [()] * 3


_turns = st.builds(
    TURN._replace,
    at=st.floats(AT, AT + 100),
    message_id=st.sampled_from(["m1", "m2", "m3"]),
    sidechain=st.booleans(),
    input=st.integers(0, 9),
    output=st.integers(0, 99),
    thinking=st.none() | st.integers(0, 9),
    thought=st.integers(0, 3),
    spoken=st.integers(0, 3),
)


@settings(max_examples=200)
@given(st.lists(_turns, max_size=12), st.randoms(use_true_random=False))
def test_order_and_repeats_never_matter(turns: list[Turn], random: Random) -> None:
    """Whatever the order of lines, and however often each is read, input, output and caches come out the same."""
    again = [*turns, *random.choices(turns or [TURN], k=len(turns))]
    random.shuffle(again)

    assert replace(_count(*turns), thinking=0) == replace(_count(*again), thinking=0)


@given(st.data())
def test_filed_responses_count_once(data: st.DataObject) -> None:
    """However lines of old responses, and copies of them, fall into passes, each counts once where it began."""
    numbers = st.integers(0, 12)
    lines = [
        TURN._replace(
            at=AT - 10 * 86400 + number * 7200 + age, message_id=f"m{number}", request_id=f"r{number}", output=number
        )
        for number, age in data.draw(st.lists(st.tuples(numbers, st.integers(0, 3)), max_size=40))
    ]
    names = {str(turn.message_id) for turn in lines}
    first = {name: min(turn.at for turn in lines if turn.message_id == name) for name in names}
    # A response's lines stand in one pass; forks repeat all of them in others.
    some = st.sets(st.sampled_from(sorted(first)), min_size=1) if first else st.just(set[str]())
    forks = data.draw(st.lists(some, max_size=4))
    passes = [[turn for turn in lines if turn.message_id in names] for names in forks]
    ledger, counted = Ledger(), list[tuple[float, int]]()
    for each in [*passes, lines]:
        filed, rest = file_apart(_gathered(each), before=AT)
        counted += zip(*ledger.file(filed), strict=True)
        for turn, times in rest:
            for at in (turn.at, *times):
                for before, after in ledger.add(turn._replace(at=at)):
                    if before:
                        counted.remove((before.filed_at, before.total))
                    assert after
                    counted.append((after.filed_at, after.total))
        ledger.settle(AT)
        if data.draw(st.booleans()):
            ledger.pack()

    assert sorted(counted) == sorted((at, _total(lines, name)) for name, at in first.items())


def _total(lines: list[Turn], name: str) -> int:
    return next(turn.total for turn in lines if turn.message_id == name)


def _gathered(turns: list[Turn]) -> list[tuple[Turn, list[float]]]:
    """Put the lines of each response together, as they stand in a file."""
    found: dict[str | None, tuple[Turn, list[float]]] = {}
    for turn in turns:
        if turn.message_id in found:
            found[turn.message_id][1].append(turn.at)
        else:
            found[turn.message_id] = (turn, [])
    return list(found.values())
