"""Makes a tree of transcripts from a seed, and knows the truth about it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.support.transcripts import assistant, encoded

HOUR = 3600.0
FIVE_HOURS = 5 * HOUR
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")


@dataclass(frozen=True)
class Response:
    """One response of the truth: when its figures were whole, what model, which tokens."""

    at: float
    number: int
    model: str
    tokens: tuple[int, int, int, int]


@dataclass
class Tree:
    """The files' bytes by name, and the responses that they tell of."""

    files: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))
    responses: list[Response] = field(default_factory=list)

    def write(self, projects: Path) -> None:
        """Put the files below a `projects` folder."""
        for name, data in self.files.items():
            path = projects / "-home-dev-project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def blocks(self) -> list[tuple[float, int, int]]:
        """List (start, responses, tokens) of each 5-hour block, by the plain rule."""
        found: list[tuple[float, int, int]] = []
        last = 0.0
        for each in sorted(self.responses, key=lambda each: each.at):
            total = sum(each.tokens)
            if found and each.at - found[-1][0] <= FIVE_HOURS and each.at - last <= FIVE_HOURS:
                start, count, sums = found[-1]
                found[-1] = (start, count + 1, sums + total)
            else:
                found.append((each.at - each.at % HOUR, 1, total))
            last = each.at
        return found


def generate(seed: int, end: float, days: float = 4.0) -> Tree:
    """Make sessions over some days up to `end`: gaps, block edges, forks, subagents, growing and repeated lines."""
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
    tree.responses.append(Response(at, number, model, whole))
    aside = random.random() < 0.2
    name = f"{session.removesuffix('.jsonl')}/subagents/agent-{number % 7}.jsonl" if aside else session
    lines = []
    if random.random() < 0.2:  # an older version's early line, with little output yet
        early = (whole[0], 1, whole[2], whole[3])
        lines.append(encoded(assistant(at - 0.0005, number, model=model, tokens=early, sidechain=aside)))
    lines += [  # a line per content block
        encoded(assistant(at + repeat / 1000, number, model=model, tokens=whole, sidechain=aside))
        for repeat in range(random.randint(1, 3))
    ]
    tree.files[name] += b"".join(lines)
    return [] if aside else lines
