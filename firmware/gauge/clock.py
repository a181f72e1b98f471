"""Milliseconds since the start that never wrap."""

from time import ticks_diff, ticks_ms


class Clock:
    """Adds up the ticks before they wrap, as they do every twelve days."""

    def __init__(self) -> None:
        self._ticks = ticks_ms()
        self._ms = 0

    def ms(self) -> int:
        """Return the milliseconds since the start; call it more often than once in six days."""
        ticks = ticks_ms()
        self._ms += ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._ms
