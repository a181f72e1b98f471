"""One node as the merge sees it."""

from __future__ import annotations

from dataclasses import dataclass

from claude_gauge.contract.usage import Usage


@dataclass(frozen=True, slots=True)
class Member:
    """A node's newest payload, whether that can still be believed, and when tokens were last seen to flow."""

    node: str
    usage: Usage
    live: bool = True
    off: bool = False  # it said goodbye: no trouble, unlike one that fell silent
    moved_at: float = 0.0

    @property
    def left(self) -> float | None:
        """Tokens left in the window as this node sees it: the very figure that its `minutes_to_limit` is made of."""
        return left(self.usage.window_5h_tokens, self.usage.window_5h_pct)

    @property
    def pace(self) -> float:
        """Tokens a minute that count against the window, whatever kinds the node's tachometer is set to."""
        minutes = self.usage.minutes_to_limit
        return self.left / minutes if self.left and minutes else self.usage.rate_1m


def left(tokens: float, share: float) -> float | None:
    """Tokens until the window is full, from those that filled the share; None where they can't tell."""
    return tokens / share * (1 - share) if tokens > 0 and 0 < share < 1 else None
