"""`claude-gauge watch`: one node's topics, drawn on the terminal's screen as they change."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Self

from claude_gauge.apps.terminal.picture import Look, Scene, draw
from claude_gauge.config import Settings
from claude_gauge.contract.history import History
from claude_gauge.contract.needle import Needle
from claude_gauge.contract.usage import FLEET_NODE, usage_topic
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.node_reader import NodeReader

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # other screen, no cursor, no wrapping
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
SYNC, SYNCED = "\x1b[?2026h", "\x1b[?2026l"  # terminals that know it show the frame whole; others ignore it


class Screen:
    """Use in a `with`: at its end the terminal is restored, also after an error."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._stdin = sys.stdin.fileno()
        self._news, self._ring = os.pipe()
        os.set_blocking(self._ring, False)
        os.set_blocking(self._news, False)
        self.taken_again = False  # what was shown is gone

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._stdin)
        handlers = {signal.SIGWINCH: self._resized, signal.SIGTERM: self._ended, signal.SIGTSTP: self._suspended}
        self._handlers_before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def _take(self) -> None:
        tty.setcbreak(self._stdin)
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows just now."""
        return shutil.get_terminal_size()

    def show(self, picture: str) -> None:
        """Put a picture on the screen in one write."""
        rows = "\r\n".join(line + "\x1b[K" for line in picture.split("\n"))
        self._write(f"{SYNC}\x1b[H{rows}\x1b[J{SYNCED}")

    def ring(self) -> None:
        """End the present `wait` at once; may be called from any thread."""
        try:
            os.write(self._ring, b"!")
        except BlockingIOError:
            return  # it rings already

    def wait(self, seconds: float) -> str:
        """Wait for a key (returned), a resize, a ring or the time to pass ("")."""
        ready, _, _ = select.select([self._stdin, self._news], [], [], seconds)
        if self._news in ready:
            os.read(self._news, 4096)
        if self._stdin not in ready:
            return ""
        return os.read(self._stdin, 64).decode("utf-8", "replace") or "q"  # a closed terminal quits

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.ring()

    def _suspended(self, number: int, _frame: FrameType | None) -> None:
        """Restore the terminal while the program is suspended (Ctrl-Z)."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here until `fg`
        signal.signal(number, self._suspended)
        self._take()
        self.taken_again = True
        self.ring()

    def _ended(self, _number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


CONNECT_S = 5.0
RETAINED_S = 1.0  # a broker sends what is retained at once
SPAN = "last 10 min"
FRAME_S, REST_S = 0.05, 1.0
FOOTER = "q quits"
QUIT = "qQ\x03\x04"  # Ctrl-C and Ctrl-D too


class NodeWatch:
    """One node's payloads of the last minutes; filled on the link's thread, read on the main one."""

    def __init__(self, settings: Settings, *, quiet: bool = False) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._strip = History(slices=120, slice_s=5)
        self._lock = threading.Lock()
        self._name = settings.node
        self.node = NodeReader(settings, self._news, quiet=quiet)
        self.link = self.node.link

    def scene(self, now: float) -> Scene:
        """Return the scene to draw at `now`."""
        usage, stale = self.node.newest(now)
        if not self.link.connected:
            stale = self.link.trouble or f"connecting to {self.link.endpoint.place}"
        with self._lock:
            return Scene(usage, stale, now, self._name, self._strip.last(now), SPAN)

    def _news(self) -> None:
        now = time.time()
        usage, stale = self.node.newest(now)
        rate = None if usage is None or stale else usage.figure("rate_1m")
        if usage is not None and rate is not None:
            with self._lock:
                self._strip.add(now, rate, usage.figure("window_5h_pct"))
        self.changed()


def can_draw() -> bool:
    """Return whether there is a terminal to draw in: keys come from one, and it knows how to move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def look_of(settings: Settings, *, ascii_only: bool = False) -> Look:
    """Choose how to draw by what stdout can show: NO_COLOR, a dumb terminal, a pipe, a locale without Unicode."""
    dumb = os.environ.get("TERM") == "dumb"
    utf8 = "utf" in (sys.stdout.encoding or "").lower()
    return Look(
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb,
        ascii_only=ascii_only or dumb or not utf8,
        redline=settings.redline,
        cache_floor=settings.cache_floor,
    )


def watch_once(settings: Settings, look: Look) -> str:
    """Return one picture of the topic's payload; raises GaugeError if there is none."""
    watch = NodeWatch(settings)
    watch.link.start()
    try:
        if not watch.link.wait_connected(CONNECT_S):
            trouble = watch.link.trouble or f"broker {watch.link.endpoint.place} does not answer"
            hint = "" if settings.broker else "; `claude-gauge publish` starts a broker on this machine"
            raise GaugeError(trouble + hint)
        if not watch.node.look(RETAINED_S):
            if watch.node.unseen.what:
                raise GaugeError(str(watch.node.unseen))
            where = f"{usage_topic(settings.node)} on {watch.link.endpoint.place}"
            begin = "fleet" if settings.node == FLEET_NODE else "publish"
            raise GaugeError(f"nothing at {where}; start `claude-gauge {begin}`, or name another --node")
        return draw(watch.scene(time.time()), look)
    finally:
        watch.link.stop()


def watch_live(settings: Settings, look: Look, footer: Callable[[], str] = lambda: FOOTER) -> None:
    """Draw until `q`; `footer` returns the last line of each picture."""
    watch = NodeWatch(settings)
    watch.link.start()
    try:
        with Screen() as screen:
            _show(watch, screen, look, footer)
    finally:
        watch.link.stop()


def _show(watch: NodeWatch, screen: Screen, look: Look, footer: Callable[[], str]) -> None:
    watch.changed = screen.ring
    needles = [Needle() for _ in look.faces]
    drawn = ""
    before = time.monotonic()
    wait = 0.0
    while not quits(screen.wait(wait)):
        now = time.monotonic()
        elapsed, before = now - before, now
        columns, rows = screen.size
        scene = replace(watch.scene(time.time()), footer=footer())
        picture, moving = _frame(scene, needles, replace(look, columns=columns, rows=rows), elapsed)
        if picture != drawn or screen.taken_again:
            screen.taken_again = False
            screen.show(picture)
            drawn = picture
        wait = FRAME_S if moving else REST_S


def quits(keys: str) -> bool:
    """Return whether a key that was pressed ends the program."""
    return not keys.startswith("\x1b") and any(key in QUIT for key in keys)


def _frame(scene: Scene, needles: list[Needle], look: Look, elapsed_s: float) -> tuple[str, bool]:
    """Draw one frame and return whether a needle still moves."""
    for needle, gauge in zip(needles, look.faces, strict=True):
        needle.point(None if scene.dark or scene.usage is None else gauge.of(scene.usage))
    moving = [needle.advance(min(elapsed_s, 2 * FRAME_S) * 1e6) for needle in needles]
    return draw(replace(scene, needles=[needle.share for needle in needles]), look), any(moving)
