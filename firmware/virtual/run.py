"""Run the firmware on virtual hardware: `python run.py FOLDER`, or `micropython run.py FOLDER`.

The folder is the board's flash: it holds config.json, and whatever the firmware writes. The firmware's own files are
those beside this folder, or those in the flash where they were installed.
"""

import gc
import os
import sys
import time


def lend() -> None:
    """Give CPython the few functions that MicroPython has and it has not."""
    if hasattr(time, "ticks_ms"):
        return
    time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000
    time.ticks_diff = lambda later, earlier: later - earlier
    gc.mem_free = gc.mem_alloc = lambda: 0
    gc.threshold = lambda _bytes: None
    if "GAUGE_NO_CLOCK" in os.environ:  # as a board is just after power-on: its clock begins at zero
        power_on, host = time.time(), time.time
        time.time = lambda: host() - power_on


def run(flash: str, here: str) -> None:
    """Start main.py as a board does."""
    here = here if here.startswith("/") else os.getcwd() + "/" + here
    firmware = here.rpartition("/")[0]
    os.chdir(flash)
    installed = flash if "main.py" in os.listdir(".") else firmware
    sys.path[0:0] = [installed, here]
    lend()
    import main

    main.main()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[0].rpartition("/")[0])
