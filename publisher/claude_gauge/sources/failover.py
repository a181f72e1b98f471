"""Several sources as one: each part of the reading from the best source that answers for it.

A source that dies stops no other: its part comes from the next one that answers, or keeps its last value while
health says so. A failure shorter than GRACE_S, and a return shorter than that, change nothing: a needle must not jump
between two counts of the same use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from claude_gauge.counting.reading import READING_HISTORY, Health, Reading, earliest
from claude_gauge.errors import GaugeError
from claude_gauge.sources.source import Loads, Remembers, Source

log = logging.getLogger(__name__)

T = TypeVar("T")

GRACE_S = 30.0
RETRY_S = 30.0
LOOK_S = 5.0
FAILED = "could not be started"
NO_USE_SEEN = "no use seen yet"
PARTS = ("tach", "fuel")


@dataclass(slots=True)
class _State:
    """How a member did for one part: since when it answers, since when it does not."""

    ok_since: float | None = None
    failing_since: float | None = None

    def note(self, *, ok: bool, now: float) -> None:
        if ok:
            self.failing_since, self.ok_since = None, now if self.ok_since is None else self.ok_since
        else:
            self.ok_since, self.failing_since = None, now if self.failing_since is None else self.failing_since


class Choice:
    """Which of several names one part comes from, best first."""

    def __init__(self, part: str, order: Sequence[str]) -> None:
        self.part, self.order = part, tuple(order)
        self.name: str | None = None
        self._states = {name: _State() for name in order}
        self._proven: set[str] = set()

    def choose(self, readings: Mapping[str, Reading], now: float) -> str | None:
        """Choose at a time (epoch seconds); None where no member ever answered."""
        for name in self.order:
            self._states[name].note(ok=answers(readings[name], self.part), now=now)
        best = next((name for name in self.order if self._states[name].ok_since is not None), None)
        if best is not None and best != self.name and self._may_leave(best, readings, now):
            self._log_choice(best, readings)
            self.name = best
        if best is not None:
            self._proven.add(best)
        return self.name

    def _may_leave(self, best: str, readings: Mapping[str, Reading], now: float) -> bool:
        if self.name is None or not knows(readings[self.name], self.part):
            return True
        present = self._states[self.name]
        if present.failing_since is not None:
            return abs(now - present.failing_since) >= GRACE_S
        ok_since = self._states[best].ok_since
        returned = best in self._proven
        return not returned or (ok_since is not None and abs(now - ok_since) >= GRACE_S)

    def _log_choice(self, best: str, readings: Mapping[str, Reading]) -> None:
        if self.name is None:
            log.info("%s from %s", self.part, best)
        else:
            why = _health(readings[self.name], self.part).why or "a better one answers"
            log.warning("%s now from %s instead of %s (%s)", self.part, best, self.name, why)


class Failover:
    """Sources by name; `order` names for each part the sources that may give it, the best first.

    A source that is first for no part starts only when all better ones fail. What no part names (the
    plan's windows, waiting) is taken from any source that has it.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        order: Mapping[str, Sequence[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = dict(sources)
        self._clock = clock
        firsts = {names[0] for names in order.values() if names}
        others = {name for names in order.values() for name in names} - firsts
        self._away = {name: "standing by" for name in self._sources if name in others}
        self._choices = {part: Choice(part, order.get(part, ())) for part in PARTS}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Start all that is wanted; raises the first GaugeError only where no source is left for the tach."""
        firsts = [name for name in self._sources if name not in self._away]
        errors = [error for name in firsts if (error := self._start(name, changed)) is not None]
        self._start_wanted(changed)
        if errors and set(self._choices["tach"].order) <= set(self._away):
            self.stop()
            raise errors[0]
        if self._away:
            self._thread = threading.Thread(target=self._retry, args=(changed,), name="sources", daemon=True)
            self._thread.start()

    def _start(self, name: str, changed: Callable[[], None]) -> GaugeError | None:
        try:
            self._sources[name].start(changed)
        except GaugeError as error:
            if self._away.get(name) != FAILED:
                log.warning("%s; going on without, trying again every %.0f s", error, RETRY_S)
            self._away[name] = FAILED
            return error
        if self._away.pop(name, None) is not None:
            log.info("%s started", name)
            changed()
        return None

    def _retry(self, changed: Callable[[], None]) -> None:
        """Try again what failed, and start what is wanted."""
        looks = 0
        while self._away and not self._stopping.wait(LOOK_S):
            looks += 1
            if looks * LOOK_S >= RETRY_S:
                looks = 0
                for name in [name for name, why in self._away.items() if why == FAILED]:
                    self._start(name, changed)
            self._start_wanted(changed)

    def _start_wanted(self, changed: Callable[[], None]) -> None:
        for name in [name for name, why in self._away.items() if why != FAILED]:
            if self._wanted(name):
                self._start(name, changed)

    def _wanted(self, name: str) -> bool:
        """Return whether, for some part, no better source answers."""
        now = self._clock()
        parts = {part: choice.order for part, choice in self._choices.items() if name in choice.order}
        return not parts or any(
            not any(answers(self._read(better, now), part) for better in order[: order.index(name)])
            for part, order in parts.items()
        )

    def load(self) -> None:
        """Have those that are wanted read what is there, once, without following it."""
        for name in sorted(self._sources, key=lambda name: name in self._away):
            if name in self._away and not self._wanted(name):
                continue
            self._away.pop(name, None)
            source = self._sources[name]
            try:
                if isinstance(source, Loads):
                    source.load()
                else:
                    source.start(lambda: None)
                    source.stop()
            except GaugeError as error:
                log.warning("%s; going on without", error)
                self._away[name] = FAILED

    def past(self, since: float, now: float) -> dict[int, int] | None:
        """Return what the tach's source remembers, None where it can't."""
        source = self._sources.get(self._choices["tach"].name or "")
        return source.past(since, now) if isinstance(source, Remembers) else None

    def read(self, now: float) -> Reading:
        """Return each part as its chosen source has it."""
        readings = {name: self._read(name, now) for name in self._sources}
        with self._lock:
            chosen = {part: choice.choose(readings, now) for part, choice in self._choices.items()}
        tach, fuel = (self._part(part, name, readings) for part, name in chosen.items())
        health = {
            part: _health(reading, part) if chosen[part] else _unseen(_health(reading, part))
            for part, reading in (("tach", tach), ("fuel", fuel))
        }
        if "thinking" in tach.sources:
            health["thinking"] = tach.sources["thinking"]
        plan = _first(each.sources.get("plan") for each in readings.values())
        if plan is not None:
            health["plan"] = plan
        return Reading(
            traffic=tach.traffic,
            block=fuel.block,
            week_tokens=_first(each.week_tokens for each in (fuel, *self._candidates("fuel", readings))),
            plan_5h=_first(each.plan_5h for each in readings.values()),
            plan_7d=_first(each.plan_7d for each in readings.values()),
            limit=_first(each.limit for each in readings.values()),
            waiting=_first(each.waiting for each in readings.values()),
            sources=health,
        )

    def _read(self, name: str, now: float) -> Reading:
        why = self._away.get(name)
        if why is not None:
            return Reading(sources={part: Health(name, ok=False, why=why) for part in PARTS})
        return self._sources[name].read(now)

    def _part(self, part: str, name: str | None, readings: Mapping[str, Reading]) -> Reading:
        """Return the chosen reading; where none ever answered the best one's, for its health."""
        return readings[name] if name else next(iter(self._candidates(part, readings)), Reading())

    def _candidates(self, part: str, readings: Mapping[str, Reading]) -> list[Reading]:
        return [readings[name] for name in self._choices[part].order]

    def due(self, now: float) -> float | None:
        """Return when the reading changes by the passing of time alone."""
        return earliest(*(source.due(now) for name, source in self._sources.items() if name not in self._away))

    def stop(self) -> None:
        """Stop all, whatever one of them does."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)  # first: it might start one meanwhile
        for name, source in self._sources.items():
            try:
                source.stop()
            except Exception:
                log.exception("%s did not stop in good order", name)


def knows(reading: Reading, part: str) -> bool:
    """Return whether a reading holds anything of this part: a source that never saw use is no better than none."""
    traffic, block = reading.traffic, reading.block
    seen = traffic is not None and traffic.newest_at is not None
    if part == "tach" or _health(reading, part).why == READING_HISTORY:  # its figure comes in seconds
        return seen
    return block is not None and (seen or block.start is not None or bool(reading.week_tokens))


def answers(reading: Reading, part: str) -> bool:
    """Return whether a source answers for a part: it knows it, and what it knows is not old."""
    health = _health(reading, part)
    return knows(reading, part) and (health.ok or health.degraded)


def _unseen(health: Health) -> Health:
    """Say of a part that no source ever knew anything of: its zeros are none."""
    return replace(health, ok=False, why=NO_USE_SEEN) if health.ok else health


def _health(reading: Reading, part: str) -> Health:
    return reading.sources.get(part, Health("none", ok=False, why="no source"))


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
