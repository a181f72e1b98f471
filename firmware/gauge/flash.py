"""The board's files on its flash: written atomically, and rarely."""

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KNOWN = "known.json"


def read(path: str) -> "Any":
    """Return what a JSON file holds, or None where there is none that can be read."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write(path: str, value: "Any") -> None:
    """Write a JSON file so that a power cut leaves the old one or the new one, never half of it."""
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)


class Known:
    """Values that survive a restart (known.json): the time, addresses, networks that were joined."""

    def __init__(self) -> None:
        given = read(KNOWN)
        self._values: dict[str, Any] = given if isinstance(given, dict) else {}

    def get(self, name: str, default: "Any") -> "Any":
        """Return a stored value, or the default where there is none of its type."""
        value = self._values.get(name, default)
        return value if type(value) is type(default) else default

    def keep(self, name: str, value: "Any") -> None:
        """Note something; the flash is written only where that is new, and a full one is no reason to stop."""
        if self._values.get(name) == value:
            return
        self._values[name] = value
        try:
            write(KNOWN, self._values)
        except OSError as error:
            print("flash:", repr(error))
