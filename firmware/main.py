"""Start the firmware: choose the copy to run, run it, and fall back where it can't even be loaded."""

import sys
import time

import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(slot: str) -> "Any":
    """Import the firmware from a folder, empty for the installed copy."""
    for name in [name for name in sys.modules if name.split(".")[0] == "gauge"]:
        del sys.modules[name]
    if slot:
        sys.path.insert(0, slot)
    try:
        from gauge import app
    except Exception:
        if slot:
            sys.path.remove(slot)
        raise
    return app


def best(slot: str) -> "Any":
    """Import the chosen copy, or the next best that loads."""
    while True:
        try:
            return load(slot)
        except Exception as error:
            print("main:", slot or "the installed copy", "does not load:", repr(error))
            if not slot:
                raise
        slot = slots.reject()


def main() -> None:
    """Run until the power goes."""
    app = best(slots.choose())
    try:
        app.main()
    except Exception as error:  # noqa: BLE001 - a device that stands still is worse than one that starts again
        print("main: stopped by", repr(error))
        sys.print_exception(error) if hasattr(sys, "print_exception") else None
        slots.crashed()
        time.sleep(5)  # time enough to interrupt a device that can't start
    app.board.reset()


if __name__ == "__main__":
    main()
