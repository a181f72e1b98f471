"""Made-up pasts of Claude Code's counters as Prometheus scrapes them, and the truth that they hold."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from tests.support.prometheus import TOKENS, Series

KINDS = ("input", "output", "cacheRead", "cacheCreation")
HOUR = 3600.0
NOON = 1_795_435_200.0  # a full UTC hour, so that every test is at the same time of its day


def labels(session: str, kind: str = "output", model: str = "claude-opus-5-5", **more: str) -> dict[str, str]:
    """Return the labels that a series of tokens has."""
    return {"__name__": TOKENS, "session_id": session, "type": kind, "model": model, **more}


def came_in(samples: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Count what one series' samples brought after `start` and until `end`: the truth, read off one by one."""
    total, before = 0.0, 0.0
    for at, value in samples:
        if start < at <= end:
            total += value - before if value >= before else value
        before = value
    return total


def truth(past: Iterable[Series], start: float, end: float) -> float:
    """Count what all series brought."""
    return sum(came_in(each.samples, start, end) for each in past)


def counted(
    steps: Iterable[tuple[float, float]], until: float, phase: float = 0, every: float = 15
) -> list[tuple[float, float]]:
    """Scrape a counter: `steps` are (time, value from then on)."""
    steps = sorted(steps)
    samples = []
    at = steps[0][0] // every * every + phase
    if at < steps[0][0]:
        at += every
    passed = 0
    while at <= until:
        while passed < len(steps) and steps[passed][0] <= at:
            passed += 1
        samples.append((at, steps[passed - 1][1]))
        at += every
    return samples


def wild(chance: random.Random, case: str, end: float, days: float = 1.5) -> list[Series]:
    """Invent sessions that overlap, end, come back, start again from 0, under scrapes that fail for hours."""
    gaps = [
        (start, start + chance.choice([60, 400, 2 * HOUR, 9 * HOUR]))
        for start in (end - chance.uniform(0, days * 86400) for _ in range(chance.randint(0, 3)))
    ]
    phase = chance.choice([0.0, 3.0, 7.3, 14.9])
    past = []
    for number in range(chance.randint(1, 12)):
        born = end - chance.uniform(0, days * 86400) ** chance.choice([1, 1, 0.8])
        until = min(end, born + chance.choice([20, 600, HOUR, 8 * HOUR, days * 86400]))
        model = chance.choice(["claude-opus-5-5", "claude-haiku-5-5"])
        steps, value, at = [(born, 0.0)], 0.0, born
        for kind in KINDS[: chance.randint(1, 4)]:
            steps, value, at = [(born, float(chance.randint(1, 500)))], 0.0, born
            value = steps[0][1]
            for _ in range(chance.randint(0, 60)):
                at += chance.expovariate(1 / chance.choice([20, 300, 3000]))
                value = float(chance.randint(0, 50)) if chance.random() < 0.03 else value + chance.randint(1, 20_000)
                steps.append((at, value))
            samples = [
                (when, what) for when, what in counted(steps, until, phase) if not any(a <= when < b for a, b in gaps)
            ]
            if samples:
                past.append(Series(labels(f"{case}-{number}", kind, model, case=case), samples))
    return past
