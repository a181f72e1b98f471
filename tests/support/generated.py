"""Makes a tree of transcripts from a seed, and knows the truth about it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.support.transcripts import assistant, encoded

HOUR = 3600.0
FIVE_HOURS = 5 * HOUR
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")


@dataclass(frozen=True)
class Response:
    """One response of the truth: when its figures were whole and when it ended, what model, which tokens.

    `advice` is what other models used for it; ccusage counts an entry more for each.
    """

    at: float
    ended: float
    number: int
    model: str
    tokens: tuple[int, int, int, int]
    advice: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def total(self) -> int:
        """All tokens."""
        return sum(self.tokens) + sum(map(sum, self.advice))


@dataclass
class Tree:
    """The files' bytes by name, and the responses that they record."""

    files: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))
    responses: list[Response] = field(default_factory=list)

    def write(self, projects: Path) -> None:
        """Put the files below a `projects` folder."""
        for name, data in self.files.items():
            path = projects / "-home-dev-project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def blocks(self) -> list[tuple[float, int, int]]:
        """List (start, entries, tokens) of each 5-hour block, by the plain rule."""
        blocks: list[tuple[float, int, int]] = []
        last = 0.0
        for each in sorted(self.responses, key=lambda each: each.at):
            entries, total = 1 + len(each.advice), each.total
            if blocks and each.at - blocks[-1][0] <= FIVE_HOURS and each.at - last <= FIVE_HOURS:
                start, count, sums = blocks[-1]
                blocks[-1] = (start, count + entries, sums + total)
            else:
                blocks.append((each.at - each.at % HOUR, entries, total))
            last = each.at
        return blocks


def generate(seed: int, end: float, days: float = 4.0) -> Tree:
    """Make sessions over some days up to `end`: gaps, block edges, forks, subagents, advice, replays."""
    random, tree = Random(seed), Tree()
    at = float(int(end - days * 24 * HOUR))
    start = at - at % HOUR
    session, history = "s0.jsonl", list[bytes]()
    while True:
        at, start = _next(random, at, start)
        if at > end:
            return tree
        if random.random() < 0.1:
            session = f"s{len(tree.files)}.jsonl"
            if random.random() < 0.5:  # resumed or forked: the new file begins with the old one's lines
                tree.files[session] += b"".join(history)
            else:
                history = []
        history += _response(random, tree, session, at)


def _next(random: Random, at: float, start: float) -> tuple[float, float]:
    """Choose the next moment: mostly soon, sometimes on a block's very edge, sometimes after a pause."""
    step = random.choices(["soon", "later", "edge", "past the edge", "pause", "hour"], [60, 20, 4, 4, 4, 4])[0]
    then = {
        "soon": at + random.randint(1, 120_000) / 1000,
        "later": at + random.randint(60, 7200),
        "edge": start + FIVE_HOURS,
        "past the edge": start + FIVE_HOURS + 0.001,
        "pause": at + random.randint(int(FIVE_HOURS), 20 * int(HOUR)),
        "hour": at - at % HOUR + HOUR,
    }[step]
    then = round(max(then, at + 0.001), 3)
    if then - start > FIVE_HOURS or then - at > FIVE_HOURS:
        start = then - then % HOUR
    return then, start


def _response(random: Random, tree: Tree, session: str, at: float) -> list[bytes]:
    number, model = len(tree.responses) + 1, random.choice(MODELS)
    whole = (random.randint(1, 50), random.randint(2, 900), random.randint(0, 90_000), random.randint(0, 5000))
    advice = tuple(_advice(random) for _ in range(random.choices([0, 1, 2], [90, 7, 3])[0]))
    # A line per content block, written together after the end, each with its own time.
    times = [at, *sorted(at + random.choice([0.001, 0.7, 30.0, 69.0]) for _ in range(random.randint(0, 2)))]
    tree.responses.append(Response(at, times[-1], number, model, whole, advice))
    aside = random.random() < 0.2
    agent = f"{session.removesuffix('.jsonl')}/subagents/agent-{number % 7}.jsonl"
    lines = []
    if random.random() < 0.2:  # an older version's early line, with little output yet
        early = (whole[0], 1, whole[2], whole[3])
        lines.append(encoded(assistant(at - 0.0005, number, model=model, tokens=early, sidechain=aside)))
    lines += [_line(each, number, model, whole, advice, sidechain=aside) for each in times]
    tree.files[agent if aside else session] += b"".join(lines)
    if not aside and random.random() < 0.1:  # a sidechain replays it under a request id of its own
        replay = {"requestId": f"req_{number}_again"}
        tree.files[agent] += _line(at, number, model, whole, advice, sidechain=True, **replay)
    return [] if aside else lines


def _advice(random: Random) -> tuple[int, int, int, int]:
    return (random.randint(1, 200_000), random.randint(1, 9000), random.randint(0, 50), random.randint(0, 50))


def _line(  # noqa: PLR0913 - a line's parts
    at: float,
    number: int,
    model: str,
    tokens: tuple[int, int, int, int],
    advice: tuple[tuple[int, int, int, int], ...],
    *,
    sidechain: bool,
    **more: Any,  # noqa: ANN401 - any key of the line
) -> bytes:
    record = assistant(at, number, model=model, tokens=tokens, sidechain=sidechain, **more)
    if advice:
        own = {"type": "message", "input_tokens": tokens[0], "output_tokens": tokens[1]}
        record["message"]["usage"]["iterations"] = [own, *map(_iteration, advice), own]
    return encoded(record)


def _iteration(tokens: tuple[int, int, int, int]) -> dict[str, object]:
    return {
        "type": "advisor_message",
        "model": "claude-opus-5-5",
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "cache_read_input_tokens": tokens[2],
        "cache_creation_input_tokens": tokens[3],
    }
