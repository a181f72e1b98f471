"""A board's serial console under MicroPython's unix port: the raw REPL that mpremote speaks, over a folder as flash."""

import os
import sys

import vfs

BANNER = "raw REPL; CTRL-B to exit\r\n>"


def read() -> str:
    """Return the next character; an interrupt while nothing runs is nothing."""
    while True:
        try:
            got = sys.stdin.read(1)
        except KeyboardInterrupt:
            continue
        if not got:
            sys.exit(0)
        return got


def say(text: str) -> None:
    """Write to the console."""
    sys.stdout.write(text)


class Implementation:
    """What `sys.implementation` says on a board with the chip that the test chose."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._mpy = sys.implementation._mpy

    def __getitem__(self, place: int) -> object:
        """Return name or version."""
        return sys.implementation[place]


def fresh() -> dict:
    """Return the names of a session that begins: a soft reboot has forgotten all modules."""
    for name in list(sys.modules):
        if name != "__main__":
            del sys.modules[name]
    names: dict = {"__name__": "__main__"}
    try:
        with open("/hw/machine.txt") as file:
            names["implementation"] = Implementation(file.read())
    except OSError:
        names["implementation"] = sys.implementation
    return names


def execute(code: str, names: dict) -> None:
    """Run what was sent among the names of this session, and tell as the raw REPL does: output, errors, prompt."""
    say("OK")
    error = None
    try:
        exec(code.replace("sys.implementation", "implementation"), names)  # noqa: S102 - it is what a REPL is for
    except SystemExit:
        raise
    except BaseException as caught:  # noqa: BLE001 - whatever it was is the other side's
        error = caught
    say("\x04")
    if error:
        sys.print_exception(error, sys.stdout)
    say("\x04>")


def serve() -> None:
    """Be a board's console for ever."""
    raw, code, names = False, "", fresh()
    say(">>> ")
    while True:
        got = read()
        if got == "\x01":  # the question for raw paste mode ends so, too: to answer with the banner says no
            raw, code = True, ""
            say(BANNER)
        elif got == "\x02":
            raw = False
            say("\r\n>>> ")
        elif got == "\x04" and not (raw and code):
            names = fresh()
            say(("OK" if raw else "") + "\r\nMPY: soft reboot\r\n" + (BANNER if raw else ">>> "))
        elif got == "\x04":
            execute(code, names)
            code = ""
        elif got == "\x03":
            code = ""
        elif raw:
            code += got


def boot(flash: str, hardware: str, main: bool) -> None:
    """Take a folder for the flash, as if there were nothing else, and start main.py as a board does."""
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix(flash), "/")
    os.chdir("/")
    sys.path[:] = ["", hardware, ".frozen"]
    if main and "main.py" in os.listdir("/"):
        try:
            with open("/main.py") as file:
                exec(file.read(), {"__name__": "__main__"})  # noqa: S102 - as a board does
        except KeyboardInterrupt:
            say("\r\nKeyboardInterrupt: \r\n")
    serve()


if __name__ == "__main__":
    boot(sys.argv[1], sys.argv[2], len(sys.argv) > 3)
