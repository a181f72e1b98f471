from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from tests.support.net import wait_until

from claude_gauge.contract.plan_window import PlanWindow
from claude_gauge.counting.reading import Block, Health, Reading, Tokens, Traffic
from claude_gauge.errors import GaugeError
from claude_gauge.sources import failover
from claude_gauge.sources.failover import Failover

NOW = 1_795_430_000.0


class Fake:
    """A source that answers what the test sets; the real ones are tried in test_select.py."""

    def __init__(self, name: str, rate: float | None = None, block: int | None = None) -> None:
        self.name, self.rate, self.block = name, rate, block
        self.health = Health(name)
        self.fails = False
        self.week: int | None = None
        self.running = 0
        self.calls: list[str] = []

    def start(self, changed: Callable[[], None]) -> None:
        """Start, or fail."""
        self.calls.append("start")
        if self.fails:
            raise GaugeError(f"{self.name} cannot start")
        self.running += 1
        changed()

    def read(self, now: float) -> Reading:
        """Tell it."""
        traffic = None if self.rate is None else Traffic(minute=Tokens(self.rate), newest_at=now)
        block = None if self.block is None else Block(self.block, NOW, NOW + 18000)
        health = {"tach": self.health, "fuel": self.health, "thinking": Health(self.name)}
        return Reading(traffic=traffic, block=block, week_tokens=self.week, sources=health)

    def due(self, now: float) -> float | None:
        """Never."""
        return now + 60 if self.rate else None

    def stop(self) -> None:
        """Count it."""
        self.running -= 1
        self.calls.append("stop")

    def die(self) -> None:
        """Be away, with the last values kept."""
        self.health = Health(self.name, ok=False, why="away")

    def live(self) -> None:
        """Be back."""
        self.health = Health(self.name)


class Plan(Fake):
    """A source of the plan's figures alone."""

    def read(self, now: float) -> Reading:
        """Tell them."""
        return Reading(plan_5h=PlanWindow(0.5, now + 60), waiting=True, sources={"plan": Health("statusline")})


def _two() -> tuple[Fake, Fake, Failover]:
    one, two = Fake("one", 100, 1000), Fake("two", 200, 2000)
    return one, two, Failover({"one": one, "two": two}, {"tach": ["one", "two"], "fuel": ["two", "one"]})


def _seen(source: Failover, now: float) -> tuple[float | None, int | None]:
    reading = source.read(now)
    return (reading.traffic.minute.total if reading.traffic else None, reading.block.tokens if reading.block else None)


def test_each_part_from_its_own() -> None:
    """The tach comes from one source and the fuel from another, each with its own health."""
    _, _, source = _two()
    reading = source.read(NOW)

    assert _seen(source, NOW) == (100, 2000)
    assert {part: health.source for part, health in reading.sources.items()} == {
        "tach": "one",
        "fuel": "two",
        "thinking": "one",
    }


def test_one_dies(caplog: pytest.LogCaptureFixture) -> None:
    """A source that stays away is left after half a minute, and the log says for which and why."""
    _, two, source = _two()
    source.read(NOW)
    two.die()

    assert _seen(source, NOW + 1) == (100, 2000)
    assert not source.read(NOW + 1).sources["fuel"].ok
    assert _seen(source, NOW + 32) == (100, 1000)
    assert source.read(NOW + 32).sources["fuel"] == Health("one")
    assert "fuel now from one instead of two (away)" in caplog.text


def test_hiccup() -> None:
    """A failure of one round moves no needle to another counting."""
    _, two, source = _two()
    source.read(NOW)
    two.die()
    source.read(NOW + 10)
    two.live()
    source.read(NOW + 20)
    two.die()

    assert _seen(source, NOW + 45) == (100, 2000)


def test_returns() -> None:
    """The better source is taken again once it has answered for half a minute."""
    _, two, source = _two()
    source.read(NOW)
    two.die()
    for second in (1, 40):
        source.read(NOW + second)
    two.live()

    assert _seen(source, NOW + 50) == (100, 1000)
    assert _seen(source, NOW + 81) == (100, 2000)


def test_slow_starter() -> None:
    """A better source that answers for the first time is taken at once."""
    _, two, source = _two()
    two.health = Health("two", ok=False, why="not asked yet")
    two.block = None
    before = _seen(source, NOW)
    two.live()
    two.block = 2000

    assert before == (100, 1000)
    assert _seen(source, NOW + 3) == (100, 2000)


def test_degraded_is_good_enough() -> None:
    """A source that is merely slower or less exact is kept."""
    _, two, source = _two()
    two.health = Health("two", ok=False, why="slow", degraded=True)

    assert _seen(source, NOW) == (100, 2000)
    assert _seen(source, NOW + 100) == (100, 2000)


def test_all_dead() -> None:
    """With nobody left the last values stay, and their health says that they are old."""
    one, two, source = _two()
    source.read(NOW)
    one.die()
    two.die()
    for second in (1, 100):
        reading = source.read(NOW + second)

        assert _seen(source, NOW + second) == (100, 2000)
        assert not reading.sources["tach"].ok
        assert not reading.sources["fuel"].ok


def test_clock_goes_back() -> None:
    """A clock set back by a day does not keep a dead source for a day."""
    _, two, source = _two()
    source.read(NOW)
    two.die()
    source.read(NOW + 1)

    assert _seen(source, NOW - 86400) == (100, 1000)


def test_never_saw_any_use() -> None:
    """A healthy source that never saw use gives way to one that did."""
    one, _, source = _two()
    one.rate = None

    assert _seen(source, NOW) == (200, 2000)


def test_cannot_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A source that can't start is tried again, and stops no other."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(failover, "LOOK_S", 0.02)
    monkeypatch.setattr(failover, "RETRY_S", 0.02)
    _, two, source = _two()
    two.fails = True
    source.start(lambda: None)
    before = _seen(source, NOW)
    wait_until(lambda: len(two.calls) >= 4, "more tries")
    two.fails = False
    wait_until(lambda: two.running, "the start")
    wait_until(lambda: _seen(source, NOW + 1) == (100, 2000), "its figures")
    source.stop()

    assert before == (100, 1000)
    assert caplog.text.count("two cannot start") == 1
    assert "two started" in caplog.text


def test_nobody_can_start() -> None:
    """Where nobody is left to give the tach the start fails with the first reason, and what ran is stopped."""
    one, two = Fake("one", 1, 1), Fake("two", 1, 1)
    one.fails = True
    source = Failover({"one": one, "two": two}, {"tach": ["one"], "fuel": ["two"]})
    with pytest.raises(GaugeError, match="one cannot start"):
        source.start(lambda: None)

    assert two.running == 0


def test_one_cannot_stop() -> None:
    """One that fails in stopping leaves the others stopped."""

    class Stuck(Fake):
        def stop(self) -> None:
            raise RuntimeError("stuck")

    stuck, two = Stuck("one", 1, 1), Fake("two", 1, 1)
    source = Failover({"one": stuck, "two": two}, {"tach": ["one"], "fuel": ["two"]})
    source.start(lambda: None)
    source.stop()

    assert two.running == 0


def test_standing_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is nobody's first is started only when those before it fail, and then stays."""
    monkeypatch.setattr(failover, "LOOK_S", 0.02)
    now = [NOW]
    one, spare = Fake("one", 100, 1000), Fake("spare", 200, 2000)
    order = {"tach": ["one", "spare"], "fuel": ["one", "spare"]}
    source = Failover({"one": one, "spare": spare}, order, lambda: now[0])
    source.start(lambda: None)
    before = (spare.running, _seen(source, NOW))
    one.die()
    wait_until(lambda: spare.running, "the spare")
    source.read(NOW)

    assert before == (0, (100, 1000))
    assert _seen(source, NOW + 31) == (200, 2000)

    source.stop()

    assert (one.running, spare.running) == (0, 0)


def test_wanted_from_the_start() -> None:
    """Where the first knows nothing when all begins, the next is started with it, and read once with it."""
    for call in ("start", "load"):
        one, spare = Fake("one"), Fake("spare", 200, 2000)
        source = Failover({"spare": spare, "one": one}, {"tach": ["one", "spare"], "fuel": ["one", "spare"]})
        source.start(lambda: None) if call == "start" else source.load()

        assert _seen(source, NOW) == (200, 2000)

        source.stop()


def test_plan_beside() -> None:
    """The plan's figures and `waiting` are passed on whatever the fuel comes from."""
    one, _, _ = _two()
    reading = Failover({"plan": Plan("plan"), "one": one}, {"tach": ["one"], "fuel": ["one"]}).read(NOW)

    assert reading.plan_5h == PlanWindow(0.5, NOW + 60)
    assert reading.waiting is True
    assert reading.sources["plan"] == Health("statusline")


def test_week_from_another() -> None:
    """Where the fuel's source does not know the week, one that does gives it."""
    one, two, source = _two()
    one.week = 7000

    assert source.read(NOW).week_tokens == 7000

    two.week = 9000

    assert source.read(NOW).week_tokens == 9000


def test_due_is_the_soonest() -> None:
    """The next change by time alone is the soonest of all."""
    one, _, source = _two()
    one.rate = None

    assert source.due(NOW) == NOW + 60


def test_once() -> None:
    """What can't be read without following is started and stopped."""
    one, two, source = _two()
    source.load()

    assert (one.calls, two.calls) == (["start", "stop"], ["start", "stop"])
