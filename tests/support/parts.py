"""Where `scripts/setup` put the programs that the tests run for real."""

from __future__ import annotations

import os
from pathlib import Path

# Read at import: later every test gets a home folder of its own.
PARTS = Path(
    os.environ.get("CLAUDE_GAUGE_PARTS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "claude-gauge-parts"
)
# Node.js and Go, where this machine has none of its own.
os.environ["PATH"] = f"{PARTS / 'programs' / 'path'}{os.pathsep}{os.environ['PATH']}"


def part(path: str) -> Path:
    """Return a set-up program's path; a missing one fails the test and says what to run."""
    found = PARTS / path
    assert found.exists(), f"{found} is missing: run scripts/setup"
    return found
