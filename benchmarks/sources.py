"""One scripted hour of usage through every source, side by side with the true figures.

python benchmarks/sources.py; takes about ten seconds, all on loopback, ends by itself.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.sources.hour import measure, script, truth
from tests.support.transcripts import ClaudeHome

COLUMNS = ("source", "5-hour block", "7 days", "last minute", "thinking 5 m", "cache hits 5 m", "last model")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = ClaudeHome(folder / "claude")
        os.environ["CLAUDE_CONFIG_DIR"] = str(home.folder)
        now = math.floor(time.time())  # a source that asks in whole seconds has seen the last scrape
        acts = script(now)
        rows = {"the truth": truth(acts, now), "  less compaction": truth(acts, now, compaction=False)}
        rows |= measure(acts, now, folder, home)
    print(f"{COLUMNS[0]:26}" + "".join(f"{column:>16}" for column in COLUMNS[1:]))
    for source, figures in rows.items():
        print(f"{source:26}" + "".join(f"{_shown(value):>16}" for value in astuple(figures)))


def _shown(value: object) -> str:
    if isinstance(value, (int, float)):
        return f"{value:.4f}" if value < 1 else f"{value:,.0f}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
