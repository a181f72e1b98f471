"""Proposes a ceiling (tokens) and a redline (tokens/min) from past use, with the reasons.

`read` counts the transcripts of the past, `ceiling` and `redline` are pure, `set_values` writes into a TOML file.
"""

from __future__ import annotations

import math
import re
import statistics
import tomllib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from claude_gauge.counting import turn
from claude_gauge.counting.ledger import Ledger
from claude_gauge.counting.reading import Tach, Tokens
from claude_gauge.counting.sums import FIVE_HOURS_S, Blocks, Span
from claude_gauge.sources.statusline.plan_figures import WindowUse
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


LEAST_SHARE = 0.05  # the plan reports whole percents: a smaller share is too coarse to divide by
GOOD_SHARE = 0.25  # where there are such, the smaller ones are left out
LEAST_CEILING = 100_000  # a few requests: a window that is full below it was used by other machines
LEAST_MINUTES = 30
HOT_SHARE = 0.95
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Proposal:
    """A value for a setting (None: too little history) and the reasons, line by line."""

    setting: str
    value: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Past:
    """Past responses in order of time, as (epoch seconds, tokens)."""

    responses: Sequence[tuple[float, Tokens]]
    _ats: list[float] = field(init=False)
    _sums: list[float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ats", [at for at, _ in self.responses])
        object.__setattr__(self, "_sums", list(accumulate((tokens.total for _, tokens in self.responses), initial=0.0)))

    def between(self, start: float, end: float) -> float:
        """Sum all tokens after `start` up to `end`."""
        return self._sums[bisect_right(self._ats, end)] - self._sums[bisect_left(self._ats, start)]

    def minutes(self, tach: Tach) -> list[float]:
        """List the tokens of each minute that had traffic, smallest first, in the kinds that the tach counts."""
        minutes: defaultdict[int, float] = defaultdict(float)
        for at, tokens in self.responses:
            minutes[int(at // 60)] += tokens.counted(tach)
        return sorted(value for value in minutes.values() if value > 0)


def ceiling(past: Past, blocks: Sequence[Span], windows: Sequence[WindowUse], now: float) -> Proposal:
    """Propose how many tokens fill the 5-hour window: by the plan's own percentages, else by the fullest block.

    `windows` are those of one account.
    """
    finished = sorted((span for span in blocks if now - span.start >= FIVE_HOURS_S), key=lambda span: span.tokens)
    pairs = [(each, past.between(each.resets_at - FIVE_HOURS_S, each.at)) for each in windows]
    coarse = [(each, tokens) for each, tokens in pairs if each.share >= LEAST_SHARE and tokens > 0]
    least = max(LEAST_CEILING, finished[-1].tokens / 2 if finished else 0.0)
    sound = [(each, tokens) for each, tokens in coarse if not each.fell and tokens / each.share >= least]
    left_out = _left_out(len(coarse) - len(sound), least)
    if sound:
        return _by_plan([(each, tokens) for each, tokens in sound if each.share >= GOOD_SHARE] or sound, left_out)
    reasons = ["No plan percentage was seen beside its tokens (`claude-gauge setup` has the statusline report them)."]
    reasons = left_out or reasons
    if not finished:
        return Proposal("ceiling_5h", None, (*reasons, "No finished 5-hour block in the history either."))
    fullest = finished[-1]
    reasons.append(f"The fullest finished 5-hour block (of {len(finished)}) had {fullest.tokens:,} tokens,")
    reasons.append(
        f"from {_when(fullest.start)} on. The gauge is then full at your own highest use: no limit of the plan."
    )
    return Proposal("ceiling_5h", round_up(fullest.tokens), tuple(reasons))


def _left_out(count: int, least: float) -> list[str]:
    """Return how many windows do not count: the percentage fell in them, or they imply a ceiling far below real use."""
    if not count:
        return []
    return [
        f"{count} left out: the plan's percentage fell there, or the window would be full below {least:,.0f} tokens."
    ]


def _by_plan(measured: Sequence[tuple[WindowUse, float]], left_out: Sequence[str]) -> Proposal:
    full = [tokens / each.share for each, tokens in measured]
    reasons = [
        f"Plan percentages that the statusline reported, and this machine's tokens in their windows ({len(measured)}):"
    ]
    for (each, tokens), whole in list(zip(measured, full, strict=True))[-SHOWN:]:
        reset = _when(each.resets_at)
        reasons.append(f"  window to {reset}: {each.share:.0%} at {tokens:,.0f} tokens, so full at {whole:,.0f}")
    if len(full) > 1:
        reasons.append(f"The median is used; they range from {min(full):,.0f} to {max(full):,.0f}.")
    reasons += left_out
    reasons.append("The plan weighs models and kinds of tokens differently; use on other machines is not counted here.")
    return Proposal("ceiling_5h", round_up(statistics.median(full)), tuple(reasons))


def redline(past: Past, tach: Tach) -> Proposal:
    """Propose the rate above which HOT lights: only one busy minute in twenty is above it."""
    minutes = past.minutes(tach)
    if len(minutes) < LEAST_MINUTES:
        return Proposal(
            "redline",
            None,
            (f"Too little history: {LEAST_MINUTES} minutes with traffic are needed; seen: {len(minutes)}.",),
        )
    high = minutes[math.ceil(HOT_SHARE * len(minutes)) - 1]
    spread = (
        f"{len(minutes):,} minutes with traffic (tach = {tach}), in tokens/min: median "
        f"{statistics.median(minutes):,.0f}, {HOT_SHARE:.0%} up to {high:,.0f}, the highest {minutes[-1]:,.0f}."
    )
    return Proposal("redline", round_up(high), (spread, "HOT then lights in one busy minute of twenty."))


def round_up(value: float) -> int:
    """Round up to two digits: more digits would suggest a precision that is not there."""
    digit: int = 10 ** max(0, math.floor(math.log10(max(1.0, value))) - 1)
    return math.ceil(value / digit) * digit


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def set_values(text: str, values: Mapping[str, int]) -> str:
    """Return `text` with these top-level numbers set; raises ValueError if the result would not read back as meant."""
    wanted = {**tomllib.loads(text), **values}
    changed = text
    for name, value in values.items():
        changed = _set(changed, name, value)
    if tomllib.loads(changed) != wanted:
        raise ValueError("its layout is too unusual to change by machine")
    return changed


def _set(text: str, name: str, value: int) -> str:
    table = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    top, rest = (text[: table.start()], text[table.start() :]) if table else (text, "")
    line = re.compile(rf"^([ \t]*{name}[ \t]*=[ \t]*)[^\s#]+", re.MULTILINE)
    if line.search(top):
        return line.sub(rf"\g<1>{value}", top, count=1) + rest
    body = top.rstrip("\n")
    gap = top[len(body) :][1:]
    return f"{body}\n{name} = {value}\n{gap}{rest}" if body else f"{name} = {value}\n{top}{rest}"
