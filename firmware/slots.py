"""Which copy of the firmware to run: the one that was installed, or one of two slots that updates go to.

An update that has not proved itself is tried three times; then the last good copy runs again. A copy that was good
and crashes three times in a row is left as well: in the end the installed one runs, which no update overwrites.
This file and main.py are never updated over the air: what chooses the fallback must not itself fail.
"""

import json

FILE = "ota.json"
SLOTS = ("slot-a", "slot-b")
TRIES = 3
FRESH = {"slot": "", "good": "", "proven": True, "tries": 0, "crashes": 0, "serial": 0}


def load() -> dict:
    """Return the state; a missing or broken file means the installed copy."""
    state = dict(FRESH)
    try:
        with open(FILE) as file:
            given = json.load(file)
    except (OSError, ValueError):
        return state
    if isinstance(given, dict):
        state.update({name: given[name] for name, value in FRESH.items() if type(given.get(name)) is type(value)})
    return state


def save(state: dict) -> None:
    """Write the state so that a power cut leaves the old one or the new one, never half of it."""
    import os

    with open(FILE + ".new", "w") as file:
        json.dump(state, file)
    os.rename(FILE + ".new", FILE)


def choose() -> str:
    """Return the folder to run from, empty for the installed copy, counting the tries of an unproven one."""
    state = load()
    if not state["proven"]:
        if state["tries"] >= TRIES:
            return reject()
        state["tries"] += 1
        save(state)
    return state["slot"]


def reject() -> str:
    """Go back to the last good copy, permanently, and return its folder."""
    state = load()
    print("slots: back to", state["good"] or "the installed copy")
    if state["slot"] == state["good"]:
        state["good"] = ""  # the other slot was given up before, or is older: what was installed is sure
    state.update({"slot": state["good"], "proven": True, "tries": 0, "crashes": 0})
    save(state)
    return str(state["slot"])


def crashed() -> None:
    """Count a crash of the running copy."""
    state = load()
    if not (state["slot"] and state["proven"]):
        return  # the installed copy has nothing behind it; one on trial is counted at its start
    state["crashes"] += 1
    if state["crashes"] >= TRIES:
        reject()
    else:
        save(state)


def steady() -> None:
    """Reset the count of crashes: the copy has run well since."""
    state = load()
    state["crashes"] = 0
    save(state)


def prove() -> None:
    """Mark the running copy as good."""
    state = load()
    if not state["proven"]:
        state.update({"good": state["slot"], "proven": True, "tries": 0})
        save(state)


def spare() -> str:
    """Return the slot that an update may overwrite."""
    state = load()
    return next(slot for slot in SLOTS if slot not in (state["slot"], state["good"]) or slot == SLOTS[1])


def adopt(slot: str, serial: int) -> None:
    """Run a slot from the next start on, on trial."""
    state = load()
    state.update({"slot": slot, "proven": False, "tries": 0, "serial": serial})
    save(state)
