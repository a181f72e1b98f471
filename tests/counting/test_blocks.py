from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.counting.ledger import Change, Counted
from claude_gauge.counting.reading import Block, Tokens
from claude_gauge.counting.sums import FIVE_HOURS_S, WEEK_S, Blocks

HOUR = 3600.0
MIDNIGHT = 1_763_856_000.0


def _blocks(*entries: tuple[float, int]) -> Blocks:
    blocks = Blocks()
    for at, total in entries:
        blocks.add(MIDNIGHT + at, total)
    return blocks


def _spans(blocks: Blocks) -> list[tuple[float, int]]:
    return [(span.start - MIDNIGHT, span.tokens) for span in blocks.history()]


def test_block_starts_at_the_hour_of_its_first_entry() -> None:
    """The first entry is floored to the UTC hour; the block ends five hours later."""
    blocks = _blocks((2.9 * HOUR, 10), (6 * HOUR, 5))

    assert blocks.current(MIDNIGHT + 6.5 * HOUR) == Block(15, MIDNIGHT + 2 * HOUR, MIDNIGHT + 7 * HOUR)


def test_entry_at_exactly_five_hours_still_belongs() -> None:
    """An entry exactly 5 h after the start is the block's, one a millisecond later begins the next."""
    assert _spans(_blocks((0, 1), (1, 1), (3 * HOUR, 1), (5 * HOUR, 1))) == [(0, 4)]
    assert _spans(_blocks((0, 1), (3 * HOUR, 1), (5 * HOUR + 0.001, 1))) == [(0, 2), (5 * HOUR, 1)]


def test_pause_of_exactly_five_hours_ends_nothing_by_itself() -> None:
    """A pause ends a block only when it is longer than 5 h."""
    assert _spans(_blocks((0, 1), (FIVE_HOURS_S, 1))) == [(0, 2)]


def test_block_ends_at_its_end_and_after_a_pause() -> None:
    """No block is active 5 h after its start, nor 5 h after its last entry."""
    blocks = _blocks((0.5 * HOUR, 7))

    assert blocks.current(MIDNIGHT + 5 * HOUR - 0.001).tokens == 7
    assert blocks.current(MIDNIGHT + 5 * HOUR) == Block()


def test_present_start_depends_on_history() -> None:
    """An older entry found later moves the chain of blocks up to the present."""
    blocks = _blocks((6 * HOUR, 1), (9 * HOUR, 1))
    blocks.add(MIDNIGHT + 4 * HOUR, 1)

    assert _spans(blocks) == [(4 * HOUR, 3)]
    blocks.add(MIDNIGHT + 3 * HOUR, 1)
    assert _spans(blocks) == [(3 * HOUR, 3), (9 * HOUR, 1)]


def test_entry_from_the_future_is_not_present() -> None:
    """A line with a clock hours ahead neither fills nor hides the active block."""
    blocks = _blocks((HOUR, 5), (1.5 * HOUR, 5), (3 * HOUR, 1000), (900 * HOUR, 1000))

    assert blocks.current(MIDNIGHT + 2 * HOUR).tokens == 10


def test_since_pause_finds_the_beginning_of_the_chain() -> None:
    """Only what came after the last pause of over 5 h matters for the present block."""
    assert _blocks().since_pause() is None
    assert _blocks((0, 1), (4 * HOUR, 1)).since_pause() == MIDNIGHT
    assert _blocks((0, 1), (20 * HOUR, 1), (24 * HOUR, 1)).since_pause() == MIDNIGHT + 20 * HOUR


_entries = st.lists(
    st.tuples(
        st.integers(0, 60).map(lambda n: n * HOUR / 2) | st.integers(0, 108_000_000).map(lambda n: n / 1000),
        st.integers(0, 999),
    ),
    max_size=20,
)


def _rule(entries: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Write the rule down once more, as plainly as it is set."""
    blocks: list[tuple[float, int]] = []
    last = 0.0
    for at, total in sorted(entries):
        if blocks and at - blocks[-1][0] <= FIVE_HOURS_S and at - last <= FIVE_HOURS_S:
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + total)
        else:
            blocks.append((at - at % HOUR, total))
        last = at
    return blocks


def _counted(entry: tuple[float, int]) -> Counted:
    """One response as the ledger reports it, by its time since midnight and its total."""
    at = MIDNIGHT + entry[0]
    return Counted(at, Tokens(), estimated=False, filed_at=at, total=entry[1])


@settings(max_examples=300)
@given(_entries, st.data())
def test_any_order_and_any_correction_keep_to_the_rule(entries: list[tuple[float, int]], data: st.DataObject) -> None:
    """Entries in any order, corrected and moved at any moment, make the blocks that the plain rule makes."""
    blocks, present = Blocks(), list[tuple[float, int]]()
    for at, total in entries:
        blocks.add(MIDNIGHT + at, total)
        present.append((at, total))
        if data.draw(st.booleans()):
            index = data.draw(st.integers(0, len(present) - 1))
            moved = (present[index][0] + data.draw(st.sampled_from([0, 0, 1.0, HOUR, -HOUR])), total + 1)
            blocks.apply(Change(_counted(present[index]), _counted(moved)))
            present[index] = moved
        if data.draw(st.booleans()):
            assert _spans(blocks) == _rule(present)

    assert _spans(blocks) == _rule(present)
    since = data.draw(st.integers(0, 40)) * HOUR + 0.5
    assert blocks.week(MIDNIGHT + since + WEEK_S) == sum(total for at, total in present if at > since)


@given(_entries)
def test_forgetting_keeps_what_is_recent(entries: list[tuple[float, int]]) -> None:
    """Dropping whole blocks of the past changes nothing about the present ones."""
    blocks = _blocks(*entries)
    before = _spans(blocks)
    blocks.forget(MIDNIGHT + 15 * HOUR)
    after = _spans(blocks)

    assert after == before[len(before) - len(after) :]
    assert all(span.last_at >= MIDNIGHT + 15 * HOUR for span in blocks.history()[:1])


def test_week_ends_to_the_millisecond() -> None:
    """Seven days are exactly that, also in the middle of a block."""
    blocks = _blocks((0, 1), (1, 10), (2, 100))

    assert blocks.week(MIDNIGHT + WEEK_S) == 110
    assert blocks.week(MIDNIGHT + WEEK_S + 1.5) == 100


@given(
    entries=st.lists(st.tuples(st.integers(-8 * 86400, 300), st.integers(0, 1000)), max_size=12),
    late=st.sampled_from([-86400, -3600, -60, -1, 0, 1, 60, 3600]),
)
@settings(max_examples=300, deadline=None)
def test_the_week_holds_the_block(entries: list[tuple[int, int]], late: int) -> None:
    """The 7 days are never less than the block, whatever a clock a little ahead wrote, or however ours was set."""
    blocks = _blocks(*entries)

    assert blocks.week(MIDNIGHT + late) >= blocks.current(MIDNIGHT + late).tokens
