"""One round of questions to Prometheus, and what is remembered from one to the next.

A round asks two small questions, whatever the size of the history: the sums of the last minute, of five minutes
and since the round before; and the block's sum. What moved, and when, tells the block and the last model.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from claude_gauge.contract.usage import family
from claude_gauge.counting.blocks import FIVE_HOURS_S, WEEK_S, Blocks
from claude_gauge.counting.reading import Block, Tokens, Traffic
from claude_gauge.sources.prometheus import promql
from claude_gauge.sources.prometheus.response import Sample, TroubleError
from claude_gauge.sources.prometheus.window_sums import Asked, WindowSums

_log = logging.getLogger(__name__)
_MINUTE_S, _FIVE_S, _DAY_S, _STEP_S = 60.0, 300.0, 86400.0, 60.0
_SLOW_S = 300.0  # the 7 days are asked for this seldom
_KINDS = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheCreation": "cache_creation"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a round found; `seen` is false where the engine never had Claude Code's metrics.

    `shared`: two processes write to one series in turns. `anonymous`: no session ids, so that they might.
    """

    traffic: Traffic
    block: Block
    week: int
    seen: bool
    shared: bool
    anonymous: bool
    partial: bool


class Poll:
    """Asks `engine` about the token counters that `match` narrows down; `step` is the scrape interval in seconds."""

    def __init__(self, engine: Asked, match: str = "", step: float = 15) -> None:
        self._engine = engine
        self._sums = WindowSums(engine, promql.TOKENS, match, step)
        self._tokens = promql.selector(promql.TOKENS, match)
        self._output = promql.selector(promql.TOKENS, match, 'type="output"')
        self._blocks = Blocks()
        self._block_name = ""
        self._until: float | None = None
        self._newest_at: float | None = None
        self._model = ""
        self._week, self._week_at = 0.0, float("-inf")
        self._seen = False

    def take(self, now: float) -> Figures:
        """Go one round at `now`, by our clock; raises TroubleError, and knows then what it knew before."""
        if self._until is None:
            self._engine.now("vector(1)", now)  # its clock is known with its first answer
        skew = self._engine.skew
        at = float(math.floor(now + skew))
        self._sums.partial = False
        if self._until is None or not 0 <= at - self._until <= 2 * _STEP_S:
            self._recall(at)
        since = max(1.0, at - (self._until or at))
        sums = self._sums.ask(at, {"since": since, "minute": _MINUTE_S, "five": _FIVE_S})
        self._moved(sums["since"], at)
        block = self._block(at)
        self._count_week(at, sums["since"] if at != self._until else [])  # a second is counted once
        self._seen = self._seen or self._newest_at is not None or self._exists(at)
        self._until = at
        traffic = Traffic(
            minute=_tokens(sums["minute"]),
            five_minutes=_tokens(sums["five"]),
            thinking="unknown",
            model=self._model,
            newest_at=None if self._newest_at is None else min(now, self._newest_at - skew),
        )
        return Figures(
            traffic,
            block,
            round(self._week),
            seen=self._seen,
            shared=self._sums.shared,
            anonymous=self._sums.anonymous,
            partial=self._sums.partial,
        )

    def _recall(self, at: float) -> None:
        """Learn from the history when tokens came in."""
        end = at - at % _STEP_S
        start = self._until
        if start is not None and 0 <= at - start <= _DAY_S:
            self._replay(start - start % _STEP_S, end)
        else:
            self._blocks, self._newest_at = Blocks(), None
            start = end - _DAY_S
            self._replay(start, end)
            pause = self._blocks.since_pause()
            if pause is None or pause - start < FIVE_HOURS_S:
                try:
                    self._replay(end - WEEK_S, start)
                except TroubleError as trouble:
                    _log.info("Prometheus tells nothing from before the last day: %s", trouble.why)
        self._until = end
        self._week_at = float("-inf")

    def _replay(self, start: float, end: float) -> None:
        if end <= start:
            return
        query = promql.changed(self._output, promql.seconds(_STEP_S))
        answer = self._engine.range(query, start + _STEP_S, end, _STEP_S)
        self._sums.partial = self._sums.partial or answer.partial
        for each in sorted(answer.samples, key=lambda sample: (sample.at, sample.value)):
            # What a full minute's step shows came in during that minute: the same hour, whatever the second.
            self._sign(each.at - _STEP_S / 2, each.labels.get("model", ""))

    def _moved(self, sums: list[Sample], at: float) -> None:
        """Note what came in since the last round; of several models at once, the one that wrote most is the last."""
        moved = [each for each in sums if each.value > 0]
        if moved:
            wrote = [each for each in moved if each.labels.get("type") == "output"]
            self._sign(at, max(wrote or moved, key=lambda each: each.value).labels.get("model", ""))

    def _sign(self, at: float, model: str) -> None:
        self._blocks.add(at, 1)
        if self._newest_at is None or at >= self._newest_at:
            self._newest_at = at
            self._model = family(model) or self._model

    def _block(self, at: float) -> Block:
        block = self._blocks.current(at)
        name = f"block {block.start}"
        if name != self._block_name:
            self._sums.forget(self._block_name)
            self._block_name = name
            self._blocks.forget(at - 2 * _DAY_S)
        if block.start is None or block.end is None:
            return Block()
        sums = self._sums.ask(at, {name: at - block.start})
        skew = self._engine.skew
        return Block(round(_tokens(sums[name]).total), block.start - skew, block.end - skew)

    def _count_week(self, at: float, since: list[Sample]) -> None:
        """Add what came in; ask anew now and then, for what is older than 7 days drops out."""
        self._week += _tokens(since).total
        if not 0 <= at - self._week_at < _SLOW_S:
            self._week = _tokens(self._sums.ask(at, {"week": WEEK_S})["week"]).total
            self._week_at = at

    def _exists(self, at: float) -> bool:
        answer = self._engine.now(f"count(last_over_time({self._tokens}[{promql.LONG_BEFORE}]))", at)
        return bool(answer.samples)


def _tokens(samples: Iterable[Sample]) -> Tokens:
    sums = dict.fromkeys(_KINDS.values(), 0.0)
    for each in samples:
        kind = _KINDS.get(each.labels.get("type", ""))
        if kind:
            sums[kind] += each.value
    return Tokens(**{kind: max(0.0, total) for kind, total in sums.items()})
