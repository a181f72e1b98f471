"""The 5-hour window's last figures, kept on disk: what a restart shows until its sources know better."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from claude_gauge.contract.believable import FIVE_HOUR_RESET_S, resets
from claude_gauge.contract.freshness import seconds
from claude_gauge.contract.usage import Usage, stamp
from claude_gauge.system import atomic_file

_log = logging.getLogger(__name__)

EVERY_S = 60.0  # a figure that grows is written this often at most
FIELDS = ("window_5h_tokens", "window_5h_pct", "window_5h_resets_at", "last_model")
_AT_REST = {
    "rate_1m": 0.0,
    "thinking_ratio": 0.0,
    "cache_hit_rate": 0.0,
    "hot": False,
    "warn": False,
    "stall": True,
    "idle": True,
}


class KeptWindow:
    """One small file per node and account; a disk that fails costs a needle at rest for a moment."""

    def __init__(
        self,
        state_dir: Path,
        node: str,
        account: str | None,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kept: Usage | None = None  # from before the start
        self._path = state_dir.expanduser() / f"{node}.window.json"
        self._account = account
        self._clock, self._steady = clock, steady
        self._latest: dict[str, object] = {}
        self._written: dict[str, object] = {}
        self._written_at: float | None = None
        self._trouble = ""  # of the last write

    def start(self) -> None:
        """Read what was kept."""
        self.kept = self.load(self._clock())

    def load(self, now: float) -> Usage | None:
        """Return a payload at rest with the window's figures, if that window still runs at `now` (epoch seconds)."""
        try:
            found = json.loads(self._path.read_bytes())
            reset = seconds(found["window_5h_resets_at"])
            if reset is None or not resets(reset, now, FIVE_HOUR_RESET_S) or found["account"] != self._account:
                return None
            kept = {name: found[name] for name in FIELDS}
            return Usage.model_validate({**_AT_REST, **kept, "updated_at": stamp(now)})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            _log.warning(
                "cannot read %s (%s): the fuel is unknown until it is counted", self._path, type(error).__name__
            )
            return None

    def __call__(self, usage: Usage, _payload: bytes) -> None:
        """Take a payload; only a fuel that is known, of a window that ends, is kept."""
        if usage.fuel_source is None or usage.window_5h_resets_at is None:
            return
        self._latest = {"account": self._account, **{name: getattr(usage, name) for name in FIELDS}}
        if self._written_at is None or self._steady() - self._written_at >= EVERY_S:
            self.stop()

    def stop(self) -> None:
        """Write what is not written yet."""
        if self._latest == self._written:
            return
        self._written_at, self._written = self._steady(), self._latest
        try:
            atomic_file.replace(self._path, json.dumps(self._latest).encode())
            self._trouble = ""
        except OSError as error:
            trouble, self._trouble = self._trouble, error.strerror or type(error).__name__
            if self._trouble != trouble:
                _log.warning("cannot write %s (%s): a restart shows no fuel at first", self._path, self._trouble)
