"""What Claude Code 2.1.330 really wrote, against totals counted by hand from it."""

from __future__ import annotations

from collections import defaultdict

from tests.support import ROOT

from claude_gauge.counting import turn
from claude_gauge.counting.ledger import Ledger
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.sources.transcripts.tail import Tail

SAMPLES = ROOT / "tests" / "samples" / "transcripts"
AFTER = 1_795_433_000.0  # 2026-11-23T11:23:20Z, some minutes after the newest line

# Each message id once: input, output, cache read, cache creation, thinking (exact counts).
BY_HAND = {
    "claude-opus-4-6": Tokens(14, 297, 24_350, 530, 160),
    "claude-sonnet-5": Tokens(7, 333, 28_800, 890, 64),
    "claude-haiku-4-5-20251001": Tokens(4, 12, 9_000, 40, 0),
    "claude-haiku-5-5": Tokens(24, 222, 29_200, 280, 60),
    "claude-opus-5-5": Tokens(59, 786, 110_900, 1_524, 200),
    "claude-sonnet-5-5": Tokens(88, 452, 51_200, 1_497, 50),
}
# Three responses of claude-sonnet-5-5 have a thinking block and a count of 0: unknown, so estimated from their blocks.
ESTIMATED = {"msg_fake02e8b98440e34cd1b435", "msg_fake485497ee62a349caaefe", "msg_fakece051efc7a7e48de9d17"}


def test_totals_per_model_are_those_counted_by_hand() -> None:
    """Lines, blocks, subagents, a fork and synthetic errors: each response counts once, per model to the token."""
    tail, ledger = Tail([SAMPLES]), Ledger()
    sums: dict[str, Tokens] = defaultdict(Tokens)
    guessed: dict[str, float] = defaultdict(float)
    tail.scan()
    while tail.behind:
        for line in tail.step():
            for each in turn.parse(line):
                for before, after in ledger.add(each):
                    for counted, sign in ((before, -1), (after, 1)):
                        if counted is None:
                            continue
                        sums[each.model] = (
                            sums[each.model] + counted.tokens if sign > 0 else sums[each.model] - counted.tokens
                        )
                        if counted.estimated:
                            guessed[str(each.message_id)] += sign * counted.tokens.thinking

    assert set(guessed) == ESTIMATED
    assert all(count > 0 for count in guessed.values())
    sums["claude-sonnet-5-5"] -= Tokens(thinking=sum(guessed.values()))
    assert dict(sums) == BY_HAND


def test_reading_of_the_samples() -> None:
    """The source has the block, the week, and the newest message's model from the same files."""
    source = Transcripts([SAMPLES], clock=lambda: AFTER)
    source.load()
    reading = source.read(AFTER)
    source.stop()

    assert reading.block
    assert reading.traffic
    assert reading.block.tokens == reading.week_tokens == 260_509 == sum(each.total for each in BY_HAND.values())
    assert (reading.traffic.model, reading.traffic.minute) == ("opus", Tokens())
