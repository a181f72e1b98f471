"""All that the transcripts of the last days tell, read once and not followed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from claude_gauge.apps.calibrate.propose import Past
from claude_gauge.counting import turn
from claude_gauge.counting.blocks import Blocks, Span
from claude_gauge.counting.ledger import Ledger
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.transcripts.tail import Tail


def read(roots: Sequence[Path], since: float) -> tuple[Past, list[Span]]:
    """Return the responses since a time (epoch seconds), each counted once, and the 5-hour blocks that they make."""
    tail, ledger, blocks = Tail(roots, since), Ledger(), Blocks()
    responses: list[tuple[float, Tokens]] = []
    tail.scan()
    while tail.behind:
        for each in (each for line in tail.step() for each in turn.parse(line) if each.at >= since):
            for change in ledger.add(each):
                blocks.apply(change)
                if change.before is not None:
                    responses.append((change.before.ended, Tokens() - change.before.tokens))
                if change.after is not None:
                    responses.append((change.after.ended, change.after.tokens))
    responses.sort(key=lambda response: response[0])
    return Past(responses), blocks.history()
