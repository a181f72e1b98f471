"""Start the firmware: choose the copy to run, run it, and fall back where it can't even be loaded."""

import sys
import time

import slots


def load(slot: str) -> tuple:
    """Import the firmware from a folder, empty for the installed copy."""
    for name in [name for name in sys.modules if name.split(".")[0] == "gauge"]:
        del sys.modules[name]
    if slot:
        sys.path.insert(0, slot)
    try:
        from gauge import app, board, portal, settings
    except Exception:
        if slot:
            sys.path.remove(slot)
        raise
    return app, board, portal, settings


def main() -> None:
    """Run until the power goes."""
    slot = slots.choose()
    try:
        parts = load(slot)
    except Exception as error:
        print("main:", slot or "the installed copy", "does not load:", repr(error))
        if not slot:
            raise
        parts = load(slots.reject())
    app, board, portal, settings = parts
    try:
        config = settings.load("config.json")
        if config is None or not config["broker"]["host"]:
            portal.start(config or settings.merge({}), board)
        else:
            app.start(config)
    except Exception as error:  # noqa: BLE001 - a device that stands still is worse than one that starts anew
        print("main: stopped by", repr(error))
        sys.print_exception(error) if hasattr(sys, "print_exception") else None
        time.sleep(5)  # time enough to interrupt a device that can't start
    board.reset()


if __name__ == "__main__":
    main()
