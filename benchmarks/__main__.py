"""Measure, print the table, and write it to RESULTS.md: `python -m benchmarks`, or some of them by name.

Names: latency busy start many http recovery.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import measures
from benchmarks.measures import Row

ALL = {
    "latency": measures.latency,
    "busy": measures.busy,
    "start": measures.start,
    "many": measures.many,
    "http": measures.http,
    "recovery": measures.recovery,
}
RESULTS = Path(__file__).parent / "RESULTS.md"


def machine() -> str:
    """Say what it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB RAM, Python {platform.python_version()}"


def _table(rows: list[Row]) -> str:
    lines = ["| what | claude-gauge | beside it | ratio | target |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {row.ours} | {row.beside} | {row.ratio} | {row.target} |" for row in rows]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Run what was asked for; only a whole run is written down."""
    rows: list[Row] = []
    for name in names or ALL:
        load = os.getloadavg()[0]
        print(f"{name} (load before: {load:.1f}) ...", file=sys.stderr)
        rows += ALL[name]()
    table = _table(rows)
    print(table)
    if not names:
        head = f"# Results\n\nMeasured {datetime.now(UTC):%Y-%m-%d} by `python -m benchmarks` on {machine()}.\n"
        _, section, others = RESULTS.read_text().partition("\n## ")  # what the other scripts measured stays
        RESULTS.write_text(
            f"{head}Ratios are taken side by side, in one run on one machine.\n\n{table}\n{section}{others}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
