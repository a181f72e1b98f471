"""Where Mosquitto's programs are; Debian keeps the broker in a folder that is not on every PATH."""

from __future__ import annotations

import shutil

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin:/opt/homebrew/bin"


def find(name: str) -> str | None:
    """Return the program's path, or None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=PLACES)
