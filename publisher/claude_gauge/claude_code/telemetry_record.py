"""Remembers what `otel install` put into which settings file, and what stood there before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from claude_gauge.system import atomic_file


class Record:
    """A file in the state folder: settings file -> {"ours": …, "before": …}."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir.expanduser() / "otel.json"

    def of(self, settings: Path) -> tuple[dict[str, str], dict[str, Any]] | None:
        """Return what is ours in a settings file, and what stood there before; None where nothing is known."""
        entry = self._read().get(str(settings))
        if not isinstance(entry, dict) or not isinstance(entry.get("ours"), dict):
            return None
        before = entry.get("before")
        return entry["ours"], before if isinstance(before, dict) else {}

    def keep(self, settings: Path, ours: Mapping[str, str], before: Mapping[str, Any]) -> None:
        """Remember an installation; what stood there before the first one stays remembered."""
        known = self.of(settings)
        first = known[1] if known else {}
        own = known[0] if known else {}
        kept = {name: value for name, value in before.items() if own.get(name) != value}
        self._write({**self._read(), str(settings): {"ours": dict(ours), "before": {**first, **kept}}})

    def forget(self, settings: Path) -> None:
        """Forget an installation."""
        self._write({path: entry for path, entry in self._read().items() if path != str(settings)})

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, content: Mapping[str, Any]) -> None:
        atomic_file.replace(self._path, json.dumps(content, indent=1).encode())
