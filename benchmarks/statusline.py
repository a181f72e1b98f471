"""What the commands that `setup` writes cost Claude Code, beside a Python that does nothing.

python benchmarks/statusline.py [--runs 50]; each run is a process of its own, timed from outside; ends by itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.claude_events import event, status

from claude_gauge.claude_code.entries import Ours, program


def spent() -> float:
    """Return the processor time of all processes that ended so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command: list[str], given: bytes, runs: int) -> tuple[list[float], list[float]]:
    """Return the elapsed and the processor times of the runs, in milliseconds, sorted."""
    elapsed, processor = [], []
    for _ in range(runs):
        before, start = spent(), time.perf_counter()
        subprocess.run(command, input=given, stdout=subprocess.DEVNULL, check=True)
        elapsed.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (spent() - before))
    return sorted(elapsed), sorted(processor)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    reset = time.time() + 3600
    line = json.dumps(status(five_hour=(42.5, reset), seven_day=(12, reset))).encode()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(program(), folder)
        rows = {
            "sh, python -IS -c pass": (["sh", "-c", f"exec {sys.executable} -IS -c pass"], b""),
            "statusline": (["sh", "-c", ours.statusline(None)], line),
            "statusline --then true": (["sh", "-c", ours.statusline("true")], line),
            "hook (tool call)": (["sh", "-c", ours.hook()], json.dumps(event("PostToolUse")).encode()),
        }
        print(f"{'milliseconds, ' + str(runs) + ' runs':26}  median     95 %   processor")
        for name, (command, given) in rows.items():
            elapsed, processor = measure(command, given, runs)
            high = elapsed[int(0.95 * (runs - 1))]
            print(f"{name:26}  {statistics.median(elapsed):6.1f}  {high:7.1f}  {statistics.median(processor):10.1f}")


if __name__ == "__main__":
    main()
