from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.counting.counter import Counter
from claude_gauge.counting.reading import Block, Tokens
from claude_gauge.counting.turn import Turn

AT = 1_763_856_000.0
DAY = 86400.0
TURN = Turn(
    at=AT, message_id="m", request_id="r", line_id="l", model="claude-opus-5-5", sidechain=False,
    input=5, output=100, cache_read=1000, cache_creation=50, thinking=20,
)  # fmt: skip


def test_one_line_reaches_every_sum() -> None:
    """A line counts in the minute, the five minutes, the block and the week, once each."""
    counter = Counter()

    assert counter.add(TURN, AT)
    assert not counter.add(TURN, AT)
    assert counter.traffic(AT).minute == counter.traffic(AT).five_minutes == Tokens(5, 100, 1000, 50, 20)
    assert counter.block(AT) == Block(1155, AT, AT + 5 * 3600)
    assert counter.week(AT) == 1155


def test_old_line_fills_the_block_and_leaves_the_tach() -> None:
    """The line's own time decides: history read now is no traffic."""
    counter = Counter()
    counter.add(TURN, AT + 3600)

    assert counter.traffic(AT + 3600).minute == Tokens()
    assert counter.block(AT + 3600).tokens == 1155


def test_growing_response_moves_its_entry() -> None:
    """A response whose figures rise is one entry of the block, at its latest rise."""
    counter = Counter()
    for second in range(10):
        counter.add(TURN._replace(at=AT + second, output=second), AT + second)

    assert counter.block(AT + 9).tokens == 1055 + 9
    assert [(span.first_at, span.tokens) for span in counter.blocks.history()] == [(AT + 9, 1064)]


def test_long_response_counts_when_it_ends() -> None:
    """A thinking block 69 s before the end: the tokens belong to the minute of the last line, the block stays."""
    counter = Counter()
    for at in (AT - 1, AT + 68):
        counter.add(TURN._replace(at=at), AT + 69)

    assert counter.traffic(AT + 69).minute.total == 1155
    assert counter.traffic(AT + 129).minute.total == 0
    assert counter.block(AT + 69) == Block(1155, AT - 3600, AT + 4 * 3600)


@dataclass(frozen=True)
class Lines:
    """A response of the truth: its tokens, and when each of its lines was written (seconds before the present)."""

    output: int
    ages: list[float]

    def turns(self, number: int) -> list[Turn]:
        """Return its lines."""
        own = TURN._replace(message_id=f"m{number}", request_id=f"r{number}", output=self.output)
        return [own._replace(at=AT - age) for age in self.ages]


_RESPONSES = st.lists(
    st.builds(Lines, st.integers(1, 999), st.lists(st.integers(0, 150).map(float), min_size=1, max_size=4)), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(_RESPONSES, st.randoms(use_true_random=False), st.booleans())
def test_rate_is_what_ended_in_the_last_minute(responses: list[Lines], random: Random, growing: bool) -> None:  # noqa: FBT001 - drawn
    """For any split and order of lines, repeats among them, the minute holds the responses that ended in it."""
    turns = [turn for number, each in enumerate(responses) for turn in each.turns(number)]
    if growing:  # older versions: the early lines of a response have little output yet
        ends = {each.message_id: max(turn.at for turn in turns if turn.message_id == each.message_id) for each in turns}
        turns = [each if each.at == ends[each.message_id] else each._replace(output=0) for each in turns]
    turns += random.choices(turns, k=len(turns)) if turns else []
    random.shuffle(turns)
    counter = Counter()
    for turn in turns:
        counter.add(turn, AT)
    for second in range(0, 90, 3):
        now = AT + second
        ended = [1055 + each.output for each in responses if now - 60 < AT - min(each.ages) <= now]

        assert counter.traffic(now).minute.total == sum(ended)


def test_due_is_the_next_change_by_time_alone() -> None:
    """The sums change when a line leaves the minute, the five minutes, and when the block ends."""
    counter = Counter()
    counter.add(TURN, AT)

    assert [counter.due(AT + n) for n in (0, 60, 300)] == [AT + 60, AT + 300, AT + 5 * 3600]
    assert counter.due(AT + 5 * 3600) is None


def test_memory_of_weeks_is_bounded() -> None:
    """A month of steady use keeps eight to nine days, and the present sums with them."""
    counter = Counter()
    for n in range(30 * 48):
        now = AT + n * 1800
        counter.add(TURN._replace(at=now, message_id=f"m{n}"), now)
        counter.tidy(now)
    now = AT + 30 * DAY

    assert counter.week(now) == (7 * 48 - 1) * 1155
    assert len(counter._ledger) < 10 * 48
    assert len(counter.blocks._ats) < 10 * 48


def test_lines_beyond_the_horizon_are_not_counted() -> None:
    """What is older than all that is remembered is passed over, or it would count at each reading."""
    counter = Counter()
    counter.tidy(AT)

    assert not counter.add(TURN._replace(at=AT - 9 * DAY), AT)
    assert counter.add(TURN._replace(at=AT - 6 * DAY), AT)


def test_line_from_the_future_is_refused_and_counted() -> None:
    """A day ahead of this clock is no time that anything happened at: it counts nowhere, also when that day comes."""
    counter = Counter()

    assert not counter.add(TURN._replace(at=AT + DAY), AT)
    assert counter.add(TURN._replace(at=AT + 60, message_id="m2"), AT)
    assert counter.refused.news() == "1 times ahead of this clock"
    assert (counter.week(AT + DAY), counter.traffic(AT + DAY).minute.total) == (1155, 0)


# Which ids a gateway leaves out (None), or makes the same for every message.
_GATEWAYS: dict[str, dict[str, Any]] = {
    "a constant message id": {"message_id": "m", "request_id": None},
    "a constant message id beside request ids": {"message_id": "m"},
    "no message id": {"message_id": None},
    "no request id": {"request_id": None},
    "no ids but the line's": {"message_id": None, "request_id": None},
    "no ids at all": {"message_id": None, "request_id": None, "line_id": None},
}


def _through_gateway(kind: str, number: int, at: float) -> Turn:
    """Return one response as a gateway of this kind marks it."""
    own: dict[str, Any] = {"message_id": f"m{number}", "request_id": f"r{number}", "line_id": f"l{number}"}
    return TURN._replace(at=at, cache_read=1000 + number, **(own | _GATEWAYS[kind]))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(_GATEWAYS)),
    st.lists(st.sampled_from((7.0, 45.0, 1200.0, 4000.0, 7.0 * 3600)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_gateways_ids_lose_nothing_however_long_it_runs(kind: str, steps: list[float], random: Random) -> None:
    """Each minute shows what ended in it, hours after the first response, too; forks of it all add nothing."""
    counter, now, turns = Counter(), AT, list[Turn]()
    for number, step in enumerate(steps):
        now += step
        turns.append(_through_gateway(kind, number, now))
        counter.add(turns[-1], now)
        counter.tidy(now)

        assert counter.traffic(now).minute.total == sum(turn.total for turn in turns if now - 60 < turn.at)

    whole = sum(turn.total for turn in turns if turn.at > now - 7 * DAY)
    for turn in random.sample(turns, len(turns)):
        counter.add(turn, now)
        counter.tidy(now)

    assert counter.week(now) == whole


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(_GATEWAYS)),
    st.lists(st.sampled_from((7.0, 45.0, 1200.0, 4000.0, 7.0 * 3600)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_gateways_ids_in_any_order_at_a_start(kind: str, steps: list[float], random: Random) -> None:
    """History that is read in any order, with forks, and settled at any moment in between makes the same week."""
    counter, now, turns = Counter(), AT, list[Turn]()
    for number, step in enumerate(steps):
        now += step
        turns.append(_through_gateway(kind, number, now))
    counter.read_history()
    for turn in random.sample(2 * turns, 2 * len(turns)):
        counter.add_history(turn, (), now)
        if random.random() < 0.2:
            counter._ledger.settle(now - 6 * 3600)

    assert counter.week(now) == sum(turn.total for turn in turns if turn.at > now - 7 * DAY)
