"""Run by MicroPython in a board's flash: settings with any mistake either make a device or are reported, never a crash.

usage: micropython any_settings.py FIRMWARE SEED COUNT
"""

import json
import random
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

sys.path[0:0] = [sys.argv[1], sys.argv[1] + "/virtual"]


def store(settings: "dict[str, Any]") -> None:
    """Write the board's settings."""
    with open("config.json", "w") as file:
        json.dump(settings, file)


store({})

from gauge import app  # noqa: E402 - after the path
from gauge import settings as texts  # noqa: E402

ODD = (
    "null", "true", "0", "1", "-1", "99", "1e308", "3.5", '""', '"x"', '"a/b"', '"+"', "[]", "[1]", '["a", "b", 3]',
    "[[1, 2]]", "[null]", "{}", '{"pins": 5}', '"22:00"', '["22:00", "07:00"]', '["22:00", "07:00", "x"]',
    '["25:00", "07:00", 1]', '[["22:00"], "07:00", 1]', "100000000000000000000", "[{}, {}, {}, {}, {}, {}, 5]",
    '[{"ssid": 5}]', '[{"ssid": "a", "password": null}]',
)  # fmt: skip


class ToldError(Exception):
    """The firmware says what is wrong."""


def reported(problems: "list[str]", _settings: object) -> None:
    """Stand in for the endless log and lamps."""
    raise ToldError(problems)


def unconfigured(_settings: object) -> None:
    """Stand in for the set-up page."""
    raise ToldError([])


def one_of(listed: "Any") -> "Any":
    """Choose; MicroPython's unix port has no `random.choice`."""
    chosen = list(listed)
    return chosen[random.getrandbits(16) % len(chosen)]


def mistake(settings: "dict[str, Any]") -> None:
    """Replace one value, at any depth."""
    name = one_of(settings)
    value = settings[name]
    if isinstance(value, dict) and value and random.getrandbits(2):
        mistake(value)
    else:
        settings[name] = json.loads(one_of(ODD))


def main(seed: int, count: int) -> None:
    """Try so many settings, and print how many made a device, and how many were reported to be wrong."""
    random.seed(seed)
    app.broken, app.unconfigured = reported, unconfigured
    made = wrong = 0
    for _ in range(count):
        given = json.loads(json.dumps(texts.DEFAULTS))
        given["broker"]["host"], given["wifi"]["ssid"] = "127.0.0.1", "net"
        given["movement"] = one_of(("quad", "direct", "voltmeter", "servo"))
        if random.getrandbits(1):
            del given["needles"]
        for _mistake in range(1 + random.getrandbits(1)):
            mistake(given)
        store(given)
        try:
            device = app.assemble()
        except ToldError:
            wrong += 1
        else:
            made += 1
            device.show.tick(0)
    print("made", made, "wrong", wrong)


main(int(sys.argv[2]), int(sys.argv[3]))
