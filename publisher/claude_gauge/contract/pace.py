"""When a payload goes out: at once on a visible change, at most ten a second, and a heartbeat when nothing changes."""

from __future__ import annotations

from claude_gauge.contract.usage import HEARTBEAT_S, Usage

LEAST_GAP_S = 0.1
_NOT_SEEN = frozenset({"updated_at"})


class Pace:
    """Decides from what was sent last; all times in seconds of one steady clock."""

    def __init__(self) -> None:
        self._sent: Usage | None = None
        self._sent_at = 0.0

    def wants(self, usage: Usage, now: float) -> bool:
        """Tell whether this payload should go out now."""
        if self._sent is None:
            return True
        passed = now - self._sent_at
        return passed >= HEARTBEAT_S or (passed >= LEAST_GAP_S and _visible(self._sent, usage))

    def sent(self, usage: Usage, now: float) -> None:
        """Note what went out."""
        self._sent, self._sent_at = usage, now

    def gap(self, now: float) -> float:
        """Return the seconds until anything may go out again."""
        return 0.0 if self._sent is None else max(0.0, self._sent_at + LEAST_GAP_S - now)

    def wait(self, usage: Usage, now: float) -> float:
        """Return the seconds until this payload, if nothing else changes, has to go out."""
        if self._sent is None:
            return 0.0
        least = LEAST_GAP_S if _visible(self._sent, usage) else HEARTBEAT_S
        return max(0.0, self._sent_at + least - now)


def _visible(old: Usage, new: Usage) -> bool:
    return any(value != getattr(new, name) for name, value in old.__dict__.items() if name not in _NOT_SEEN)
