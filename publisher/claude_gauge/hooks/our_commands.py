"""How our commands are spelled in Claude Code's settings, and how they are read again there.

    [set -- THEN; ]if [ -x PYTHON ] && [ -r MAIN ]; then exec PYTHON -IS MAIN NAME --state-dir FOLDER[ --then "$1"]; fi
    [; exec /bin/sh -c "$1"]

- The shell looks first whether the program is there. It is not in a devcontainer, on another machine or after an
  uninstall: then a hook ends with 0 and without a word, and the person's own statusline (THEN) runs by itself.
- `-I` ignores PYTHONHOME, PYTHONPATH and modules of the working folder; `-S` leaves out site-packages, which `hooks`
  does not need: 8 ms less than the installed script. MAIN is `claude_gauge/__main__.py`.
- `exec` keeps `$PPID` for what runs in our place.
- The person's own statusline lies in our command itself: it can't get lost, whatever becomes of the state folder.

Older versions wrote `PROGRAM NAME --state-dir FOLDER --then THEN`, or `PYTHON -m claude_gauge NAME …`.
"""

from __future__ import annotations

import os

PROGRAM = "claude-gauge"
_AT = {"python": 3, "main": 8, "name": 15, "folder": 17}  # words of the guarded command, after `set -- THEN;`


def spell(program: tuple[str, str], name: str, folder: str, then: str | None = None) -> str:
    """Write the command `name` (statusline, hook) of the program (PYTHON, MAIN), which writes to `folder`."""
    from shlex import quote  # noqa: PLC0415 - 4 ms that a hook need not pay

    python, main = map(quote, program)
    ours = f"if [ -x {python} ] && [ -r {main} ]; then exec {python} -IS {main} {name} --state-dir {quote(folder)}"
    return f"{ours}; fi" if then is None else f'set -- {quote(then)}; {ours} --then "$1"; fi; exec /bin/sh -c "$1"'


def parse(arguments: list[str]) -> dict[str, str] | None:
    """Read `--state-dir X --then X`; None for anything else."""
    if len(arguments) % 2:
        return None
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return options if set(options) <= {"--state-dir", "--then"} else None


def options(command: object, name: str) -> dict[str, str] | None:
    """Return the options of our own command; None for anybody else's, also one that pipes ours on."""
    found = _read(command)
    return found[2] if found is not None and found[1] == name else None


def needs(command: object) -> tuple[str, ...]:
    """List the program's files that our own command can't do without; none for anybody else's."""
    found = _read(command)
    return () if found is None else found[0]


def _read(command: object) -> tuple[tuple[str, ...], str, dict[str, str]] | None:
    """Take our command apart: its program's files, its name, its options."""
    import shlex  # noqa: PLC0415 - as above

    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return None
    return _guarded(str(command), words) or _plain(words)


def _guarded(command: str, words: list[str]) -> tuple[tuple[str, ...], str, dict[str, str]] | None:
    then = words[2][:-1] if words[:2] == ["set", "--"] and len(words) > 2 else None  # noqa: PLR2004 - less its `;`
    rest = words if then is None else words[3:]
    if len(rest) <= max(_AT.values()) or rest[0] != "if":
        return None
    python, main, name, folder = (rest[at] for at in _AT.values())
    folder = folder if then is not None else folder[:-1]
    if spell((python, main), name, folder, then) != command:
        return None
    return (python, main), name, {"--state-dir": folder, **({} if then is None else {"--then": then})}


def _plain(words: list[str]) -> tuple[tuple[str, ...], str, dict[str, str]] | None:
    program = tuple(words[:1])
    if words[1:3] == ["-m", "claude_gauge"]:
        words = [PROGRAM, *words[3:]]
    if len(words) < 2 or os.path.basename(words[0]) != PROGRAM:  # noqa: PLR2004, PTH119 - pathlib is slow
        return None
    found = parse(words[2:])
    return None if found is None else (program, words[1], found)
