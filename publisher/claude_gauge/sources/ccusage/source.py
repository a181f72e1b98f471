"""ccusage as a source of fuel: the 5-hour block and the last 7 days, by its command line.

Called by a thread of its own, one call at a time, at most every 10 s and never more than a tenth of the time,
however many readers there are. It knows nothing of the last minute: that comes from the transcripts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block, Health, Reading
from claude_gauge.sources.ccusage.command import (
    CcusageError,
    Command,
    OutputError,
    environment,
    explain,
    find,
    first_day,
    parse_block,
    parse_week,
)
from claude_gauge.sources.source import Polled, Wait
from claude_gauge.system.child import Child, Finished

log = logging.getLogger(__name__)
T = TypeVar("T")

NAME = "ccusage"
TTL_S = 10.0
WEEK_TTL_S = 60.0
QUIET_S = 300.0  # without news in the transcripts it is asked this rarely
LOAD_SHARE = 9.0  # rests so many times as long as a call took
TIMEOUT_S = 60.0


class BlockSource(Protocol):
    """Something that answers for the block and the week; raises CcusageError."""

    def block(self) -> Block:
        """Return the active block."""

    def week(self, now: float) -> int:
        """Return the last 7 days' tokens."""

    def stop(self) -> None:
        """End what runs."""


class CommandLine:
    """ccusage's command line."""

    def __init__(self, setting: str | None, environ: Mapping[str, str] = os.environ, *, download: bool = True) -> None:
        self._setting, self._environ, self._download = setting, environ, download
        self._child = Child()
        self._called = False
        self._days: tuple[str, ...] = ("claude", "daily")

    def block(self) -> Block:
        """Ask for the active block."""
        return self._parsed(parse_block, self._call("blocks", "--json", "--active", "--offline"))

    def week(self, now: float) -> int:
        """Ask for Claude Code's last 7 calendar days."""
        today = datetime.fromtimestamp(now).astimezone().date()
        flags = ("--json", "--offline", "--since", first_day(today).strftime("%Y%m%d"))
        finished = self._call(*self._days, *flags, may_fail=len(self._days) > 1)
        if finished.code != 0 and "Command not found" in finished.err:
            self._days = ("daily",)  # up to 18 it knew Claude Code alone
            finished = self._call(*self._days, *flags)
        elif finished.code != 0:
            raise explain(finished, self._command())
        return self._parsed(lambda text: parse_week(text, today), finished)

    def stop(self) -> None:
        """Kill a call that runs."""
        self._child.stop()

    def _command(self) -> Command:
        return find(self._setting, self._environ, download=self._download)

    def _call(self, *arguments: str, may_fail: bool = False) -> Finished:
        command = self._command()
        timeout = TIMEOUT_S if self._called else command.first_s
        try:
            finished = self._child.run([*command.argv, *arguments], environment(command, self._environ), timeout)
        except OSError as error:
            raise CcusageError("cannot be run", f"ccusage: cannot run {command.argv[0]}: {error.strerror}") from None
        if finished.code != 0 and not may_fail:
            raise explain(finished, command)
        self._called = True
        return finished

    def _parsed(self, parse: Callable[[bytes], T], finished: Finished) -> T:
        try:
            return parse(finished.out)
        except OutputError as error:
            raise CcusageError("unknown output", f"ccusage: {' '.join(self._command().argv)} {error}") from None


@dataclass(frozen=True, slots=True)
class Fuel:
    """The newest answers: the block, and the week (asked for less often) with the block of that moment."""

    block: Block
    week: int | None = None
    week_block: Block | None = None

    @property
    def week_tokens(self) -> int | None:
        """The last 7 days' tokens, with what the block grew by since that answer."""
        if self.week is None:
            return None
        then = self.week_block
        before = then.tokens if then and then.start == self.block.start else 0
        return self.week + max(0, self.block.tokens - before)


class Ccusage:
    """Asks in a thread; what it knows stays when ccusage fails, and health says so.

    `news` returns a value that changes with the transcripts: while it is the same, ccusage is rarely asked.
    """

    def __init__(
        self,
        asked: BlockSource,
        name: str = NAME,
        news: Callable[[], object] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._asked, self._name = asked, name
        self._news, self._clock = news, clock
        self._fuel: Fuel | None = None
        self._week_at = -WEEK_TTL_S
        self._health = Health(name, ok=False, why="not asked yet")
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._asked_for: object = None  # the news before the last call
        self._thread = Polled(name, self._ask, self._rest, interrupt=asked.stop)

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to ask; returns after the first answer, two seconds at most."""
        self._changed = changed
        self._thread.start()

    def load(self) -> None:
        """Ask once, now, without a thread."""
        self._ask()
        self._asked.stop()

    def read(self, now: float) -> Reading:
        """Return what was answered last."""
        with self._lock:
            fuel, health = self._fuel, self._health
        if fuel is None:
            return Reading(sources={"fuel": health})
        over = fuel.block.end is not None and now >= fuel.block.end
        return Reading(block=Block() if over else fuel.block, week_tokens=fuel.week_tokens, sources={"fuel": health})

    def due(self, now: float) -> float | None:
        """Return when the block ends."""
        with self._lock:
            end = self._fuel.block.end if self._fuel else None
        return end if end is not None and end > now else None

    def stop(self) -> None:
        """End the thread and what it runs."""
        self._thread.stop(10)

    def _rest(self, took_s: float, wait: Wait) -> None:
        """Rest by the load that a call makes, and for long while the transcripts stay as they are."""
        quiet_until = time.monotonic() - took_s + QUIET_S
        wait(max(TTL_S, took_s * LOAD_SHARE))
        while self._health.ok and self._news() == self._asked_for and time.monotonic() < quiet_until:
            if wait(TTL_S / 10):
                break

    def _ask(self) -> None:
        self._asked_for = self._news()
        fuel = self._fuel
        try:
            fuel = replace(fuel, block=self._asked.block()) if fuel else Fuel(self._asked.block())
            if time.monotonic() - self._week_at >= WEEK_TTL_S or fuel.week is None:
                fuel = Fuel(fuel.block, self._asked.week(self._clock()), fuel.block)
                self._week_at = time.monotonic()
            health = Health(self._name)
        except CcusageError as error:
            health = Health(self._name, ok=False, why=error.why)
            if health != self._health and not self._thread.stopping:
                log.warning("%s", error)
        except Exception:
            log.exception("asking ccusage failed; going on")
            health = Health(self._name, ok=False, why="internal error, see the log")
        with self._lock:
            news = (fuel, health) != (self._fuel, self._health)
            if health.ok and not self._health.ok:
                log.info("%s: answers", self._name)
            self._fuel, self._health = fuel, health
        if news:
            self._changed()


def command_line(settings: Settings, *, download: bool = True) -> CommandLine:
    """Build the command line that the settings name."""
    return CommandLine(settings.ccusage, download=download)
