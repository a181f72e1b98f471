"""What was told, kept on disk, so that a restart does not tell it again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
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
        self._limits_path = state_dir.expanduser() / f"{node}.limit-alerts.json"

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

    def load_limits(self) -> Mapping[str, float]:
        """Return the threshold that was told last of each of the plan's other limits."""
        try:
            found = json.loads(self._limits_path.read_bytes())
            told = {str(name): float(threshold) for name, threshold in found.items()}
            return {name: threshold for name, threshold in told.items() if 0 < threshold <= 1}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            log.warning("cannot read %s (%s): an alert may come twice", self._limits_path, error.__class__.__name__)
            return {}

    def save(self, fired: Fired) -> None:
        """Keep what was told: the whole file at once, or the one before."""
        self._write(self._path, asdict(fired))

    def save_limits(self, told: Mapping[str, float]) -> None:
        """Keep what was told of the plan's other limits."""
        self._write(self._limits_path, dict(told))

    def _write(self, path: Path, content: Mapping[str, object]) -> None:
        try:
            atomic_file.replace(path, json.dumps(content).encode())
        except OSError as error:
            log.warning("cannot write %s (%s): after a restart an alert may come twice", path, error.strerror)
