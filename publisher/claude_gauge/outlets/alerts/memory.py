"""What was told, kept on disk, so that a restart does not tell it again."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from claude_gauge.contract.believable import FIVE_HOUR_RESET_S
from claude_gauge.outlets.alerts.decide import Fired
from claude_gauge.system import atomic_file

log = logging.getLogger(__name__)


class Memory:
    """One small file per node; a disk that fails costs a repeated alert at worst."""

    def __init__(self, state_dir: Path, node: str) -> None:
        self._path = state_dir.expanduser() / f"{node}.alerts.json"

    def load(self, now: float) -> Fired | None:
        """Return what was told before this start (`now`: epoch seconds), where that can be believed."""
        try:
            found = json.loads(self._path.read_bytes())
            fired = Fired(float(found["threshold"]), float(found["ends"]), str(found["source"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("cannot read %s (%s): an alert may come twice", self._path, error.__class__.__name__)
            return None
        if not 0 < fired.threshold <= 1 or not fired.ends <= now + FIVE_HOUR_RESET_S:
            log.warning("%s: told under a wrong clock, or garbage: not believed", self._path)
            return None
        return fired

    def save(self, fired: Fired) -> None:
        """Keep what was told: the whole file at once, or the one before."""
        try:
            atomic_file.replace(self._path, json.dumps(asdict(fired)).encode())
        except OSError as error:
            log.warning("cannot write %s (%s): after a restart an alert may come twice", self._path, error.strerror)
