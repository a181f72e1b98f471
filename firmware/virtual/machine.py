"""MicroPython's `machine`, as much of it as the firmware uses, on virtual hardware."""

import gc
import os
import sys

import hardware


class Pin:
    """A pin."""

    OUT = 3

    def __init__(self, number: int, _mode: int = -1, *, value: "int | None" = None) -> None:
        self.number = number
        if number not in hardware.board.pins:
            raise ValueError("invalid pin")
        if _mode == self.OUT:
            if number in hardware.board.inputs:
                raise ValueError("pin can only be input")
            hardware.board.output(number)
        if value is not None:
            hardware.board.set(number, value)

    def __call__(self, level: int) -> None:
        """Set its level."""
        hardware.board.set(self.number, level)


class PWM:
    """A pin with a duty cycle."""

    used: "set[int]" = set()  # noqa: RUF012 - all of the chip's

    def __init__(self, pin: Pin, *, freq: int, duty_u16: int = 0) -> None:
        self._number = pin.number
        self.freq = freq
        self.used.add(pin.number)
        if len(self.used) > hardware.board.duties:
            raise ValueError("out of PWM channels")
        self.duty_u16(duty_u16)

    def duty_u16(self, duty: int) -> None:
        """Set the duty cycle."""
        if not 0 <= duty <= 65535:
            hardware.tell("fault", f"duty {duty!r}")
        hardware.tell("duty", self._number, duty)
        hardware.board.duty(self._number, duty)


class WDT:
    """The watchdog; it bites when the next pulse or pixel is due after its time."""

    def __init__(self, *, timeout: int) -> None:
        self._timeout = timeout
        self._fed = 0
        hardware.board.bites_us = hardware.now_us() + 1000 * timeout

    def feed(self) -> None:
        """Begin its time again."""
        hardware.board.bites_us = hardware.now_us() + 1000 * self._timeout
        self._fed += 1
        if self._fed % 20 == 0:  # five seconds: what is really in use, for whoever looks for a leak
            gc.collect()
            hardware.tell("heap", gc.mem_alloc())


class RTC:
    """The real-time clock. The host's stays as it is, but for a process under libfaketime: that one's is set."""

    kept = b""

    def datetime(self, fields: tuple) -> None:
        """Set it: year, month, day, weekday, hour, minute, second, and a part of one."""
        hardware.tell("clock", *fields[:3] + fields[4:7])
        file = os.getenv("FAKETIME_TIMESTAMP_FILE")
        if file:
            with open(file, "w") as clock:
                clock.write("@{}-{:02d}-{:02d} {:02d}:{:02d}:{:02d}\n".format(*fields[:3] + fields[4:7]))

    def memory(self, kept: "bytes | None" = None) -> bytes:
        """Keep or return a few bytes that outlive a restart, but no power cut."""
        if kept is not None:
            RTC.kept = kept
        return RTC.kept


def freq(_hz: int) -> None:
    """Set the processor's speed."""


def unique_id() -> bytes:
    """Return the chip's unique id."""
    return b"\x02\x00\x00\xc1\xa0\xde"


def reset() -> None:
    """Start again: whoever started this process does so again at exit code 3."""
    hardware.tell("reset")
    sys.exit(3)
