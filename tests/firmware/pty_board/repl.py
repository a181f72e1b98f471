"""A board's serial console under MicroPython's unix port: the raw REPL that mpremote speaks, over a folder as flash."""

import os
import sys

import vfs

BANNER = "raw REPL; CTRL-B to exit\r\n>"
WINDOW = 0x4000  # characters that may be sent ahead in raw paste mode
TAKEN = open(sys.argv[3], "wb", buffering=0)  # noqa: SIM115 - as long as the board is on


def read() -> str:
    """Return the next character; an interrupt while nothing runs is nothing."""
    while True:
        try:
            got = sys.stdin.read(1)
        except KeyboardInterrupt:
            interrupted()
            continue
        if not got:
            sys.exit(0)
        return got


def interrupted() -> None:
    """Tell the wire that an interrupt was taken: what was typed behind it may come."""
    TAKEN.write(b"!")


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


def pasted() -> str:
    """Read code in raw paste mode: a new window is granted for each that was filled; Ctrl-D ends it."""
    say("R\x01" + chr(WINDOW & 0xFF) + chr(WINDOW >> 8))
    code: list = []
    while True:
        got = read()
        if got == "\x04":
            say("\x04")
            return "".join(code)
        code.append(got)
        if len(code) % WINDOW == 0:
            say("\x01")


def execute(code: str, names: dict) -> None:
    """Run what was sent among the names of this session, and answer as the raw REPL does: output, errors, prompt."""
    error = None
    try:
        exec(code.replace("sys.implementation", "implementation"), names)  # noqa: S102 - it is what a REPL is for
    except SystemExit:
        raise
    except BaseException as caught:  # noqa: BLE001 - whatever it was is the other side's
        error = caught
        if isinstance(caught, KeyboardInterrupt):
            interrupted()
    say("\x04")
    if error:
        sys.print_exception(error, sys.stdout)
    say("\x04>")


class Console:
    """The state of the console: raw or friendly, and what was typed since the last command."""

    def __init__(self) -> None:
        self._raw = False
        self._code = ""
        self._names = fresh()

    def take(self, got: str) -> None:
        """Take one character that was typed."""
        if got == "\x05" and self._raw and not self._code:
            if read() + read() == "A\x01":
                execute(pasted(), self._names)
        elif got == "\x01":
            self._raw, self._code = True, ""
            say(BANNER)
        elif got == "\x02":
            self._raw = False
            say("\r\n>>> ")
        elif got == "\x04" and not (self._raw and self._code):
            self._names = fresh()
            say(("OK" if self._raw else "") + "\r\nMPY: soft reboot\r\n" + (BANNER if self._raw else ">>> "))
        elif got == "\x04":
            code, self._code = self._code, ""
            say("OK")
            execute(code, self._names)
        elif got == "\x03":
            self._code = ""
        elif self._raw:
            self._code += got


def boot(flash: str, hardware: str, main: bool) -> None:
    """Take a folder for the flash, as if there were nothing else, and start main.py as a board does."""
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix(flash), "/")
    os.chdir("/")
    sys.path[:] = ["", hardware, ".frozen"]
    waiting, console = main and "main.py" in os.listdir("/"), None
    while True:  # an interrupt ends main.py; between two commands it is nothing
        try:
            if waiting:
                waiting = False
                with open("/main.py") as file:
                    exec(file.read(), {"__name__": "__main__"})  # noqa: S102 - as a board does
            if console is None:
                console = Console()
                say("\r\n>>> ")
            console.take(read())
        except KeyboardInterrupt:
            interrupted()


if __name__ == "__main__":
    boot(sys.argv[1], sys.argv[2], len(sys.argv) > 4)
