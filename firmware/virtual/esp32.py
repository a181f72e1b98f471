"""MicroPython's `esp32`, as much of it as the firmware uses: RMT, with the traps of the real one."""

import time

import hardware
from machine import Pin

LONGEST_US = 300_000  # an interrupted transmission above this panics up to ESP-IDF 5.5.1


class RMT:
    """A channel that plays pulses by itself."""

    _kept: "int | None" = -1  # the channel of the pixels, which nobody else may have; -1: the last one
    _taken: "dict[int, int]" = {}  # noqa: RUF012 - the pin of each channel, of the whole chip

    def __init__(self, channel: int, *, pin: Pin, clock_div: int) -> None:
        if not 0 <= channel <= 7:
            raise ValueError("invalid channel")
        last = hardware.board.transmitters - 1
        if channel > last:
            raise ValueError("invalid channel")
        kept = last if RMT._kept == -1 else RMT._kept
        if hardware.board.version < (1, 27) and channel == kept:
            raise ValueError("channel used by bitstream")
        if RMT._taken.get(channel, pin.number) != pin.number:
            raise OSError("ESP_ERR_INVALID_STATE")
        RMT._taken[channel] = pin.number
        hardware.board.output(pin.number)
        self._channel = channel
        self._pin = pin.number
        self._clock_div = clock_div
        self._end_us = 0

    def deinit(self) -> None:
        """Free the channel."""
        if self._end_us > hardware.now_us():
            hardware.tell("fault", "a transmission was broken off")
        RMT._taken.pop(self._channel, None)

    @staticmethod
    def bitstream_channel(channel: "int | None") -> None:
        """Choose the channel that pixels are sent by, None for none."""
        RMT._kept = channel

    def wait_done(self) -> bool:
        """Return whether nothing is being played."""
        hardware.board.alive()
        return hardware.now_us() >= self._end_us

    def write_pulses(self, durations: list, data: bool = True) -> None:
        """Play levels that take turns, beginning with `data`; blocks while something is being played."""
        left_us = self._end_us - hardware.now_us()
        if left_us > 0:
            hardware.tell("fault", f"write_pulses blocked for {left_us} us")
            time.sleep(left_us / 1e6)
        if max(durations) > 32767 or min(durations) < 1:
            raise ValueError("pulse out of range")
        total_us = sum(durations) * self._clock_div // 80
        if total_us > LONGEST_US:
            hardware.tell("fault", f"a segment of {total_us} us")
        if not data or len(durations) % 2 or min(durations[::2]) * self._clock_div < 40:
            hardware.tell("fault", "no clean pulses")
        waits = [high + low for high, low in zip(durations[::2], durations[1::2])]
        begin_us = hardware.now_us()
        self._end_us = begin_us + total_us
        hardware.board.pulses(self._pin, waits, begin_us)
