"""Exact sums of a counter over windows of time, for many short-lived series that start again now and then.

One question gives all windows. Only where a series seems new (is it, or does a gap hide its past?) or started
again, more is asked, about just those sessions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from claude_gauge.sources.prometheus import promql
from claude_gauge.sources.prometheus.response import Answer, Sample

LONG_S, COARSE_S = 86400.0, 60  # restarts in longer windows are looked for in steps of a minute


class Asked(Protocol):
    """What answers the questions: `prometheus_http.Engine`."""

    @property
    def skew(self) -> float:
        """How far its clock is ahead of ours, seconds."""

    def now(self, query: str, at: float) -> Answer:
        """Ask for the present values."""

    def range(self, query: str, start: float, end: float, step: float) -> Answer:
        """Ask for the values between two times."""


class WindowSums:
    """WindowSums of one counter by the labels `by`; `step` is the scrape interval in seconds."""

    def __init__(self, engine: Asked, names: Iterable[str], match: str, step: float, by: str = "type, model") -> None:
        self._engine = engine
        self._names = tuple(names)
        self._match = match
        self._step = max(1, round(step))
        self._by = by
        self._counter = promql.selector(self._names, match)
        self._known: dict[str, frozenset[str]] = {}
        self._orphans: dict[str, frozenset[str]] = {}
        self._flaps: dict[str, frozenset[str]] = {}
        self.partial = False

    @property
    def shared(self) -> bool:
        """Tell whether two processes write to one series in turns: no query can count that."""
        return any(self._flaps.values())

    @property
    def anonymous(self) -> bool:
        """Tell whether there are series without a session id, which several sessions may share."""
        return any("" in sessions for sessions in self._known.values())

    def ask(self, at: float, windows: Mapping[str, float]) -> dict[str, list[Sample]]:
        """Ask what came in during each window: a name and its length in seconds."""
        found = self._ask(at, windows)
        if self._hide_their_past(at, windows, found):
            found = self._ask(at, windows)
        for name, length in windows.items():
            found[name] = found.get(name, [])
            broken = found.get(f"{name} broken", ())
            self._flaps[name] = frozenset(_session(each) for each in broken if each.value > 3 + length / 600)
            again = frozenset(map(_session, broken)) - self._flaps[name]
            if again:
                found[name] = self._with_restarts(at, name, length, again)
        return {name: found[name] for name in windows}

    def _with_restarts(self, at: float, name: str, length: float, again: frozenset[str]) -> list[Sample]:
        """Ask anew, for a window from a full step on, and add what was lost at restarts.

        Else a restart at the window's very edge would be taken from its base or added to its sum, not both, and the
        needle would jump. The step after `at` sees the newest restart.
        """
        week = length > LONG_S
        step = COARSE_S if week else self._step
        start, end = (at - length) // step * step, math.ceil(at / step) * step
        sums = self._ask(at, {name: at - start}).get(name, [])
        before = promql.BEFORE if week else promql.LONG_BEFORE
        lost = promql.restarted(self._narrowed(again), promql.seconds(end - start), promql.seconds(step), before)
        return [*sums, *self._answer(f"sum by ({self._by}) ({lost})", end).samples]

    def forget(self, name: str) -> None:
        """Drop what is remembered of a window that will not be asked for again."""
        for memory in (self._known, self._orphans, self._flaps):
            memory.pop(name, None)

    def _ask(self, at: float, windows: Mapping[str, float]) -> dict[str, list[Sample]]:
        questions: dict[str, str] = {}
        for name, length in windows.items():
            window, before = promql.seconds(length), self._before(name)
            questions[name] = f"sum by ({self._by}) ({promql.added(self._counter, window, before)})"
            questions[f"{name} born"] = f"count by (session_id) ({promql.born(self._counter, window)})"
            questions[f"{name} broken"] = promql.broken(self._counter, window, before)
        found: dict[str, list[Sample]] = {}
        for sample in self._answer(promql.together(questions), at).samples:
            found.setdefault(sample.labels.get("ask", ""), []).append(sample)
        return found

    def _hide_their_past(self, at: float, windows: Mapping[str, float], found: Mapping[str, list[Sample]]) -> bool:
        """Look whether series that seem new are older; tell whether the sums must be asked for again."""
        again = False
        for name, length in windows.items():
            born = frozenset(map(_session, found.get(f"{name} born", ())))
            fresh = born - self._known.get(name, frozenset())
            orphans = self._orphans.get(name, frozenset()) & born
            if fresh:
                query = promql.orphaned(self._narrowed(fresh), promql.seconds(length))
                orphans |= frozenset(map(_session, self._answer(f"count by (session_id) ({query})", at).samples))
            again = again or bool(orphans) != bool(self._orphans.get(name))
            self._known[name], self._orphans[name] = born, orphans
        return again

    def _before(self, name: str) -> str:
        return promql.LONG_BEFORE if self._orphans.get(name) else promql.BEFORE

    def _narrowed(self, some: frozenset[str]) -> str:
        return promql.selector(self._names, self._match, promql.sessions(some))

    def _answer(self, query: str, at: float) -> Answer:
        answer = self._engine.now(query, at)
        self.partial = self.partial or answer.partial
        return answer


def _session(sample: Sample) -> str:
    return sample.labels.get("session_id", "")
