"""Runs `statusline` and `hook` without slow imports; writes and parses our commands in Claude Code's settings.

Claude Code waits for both commands at every turn.
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
    parsed = _read(command)
    return parsed[2] if parsed is not None and parsed[1] == name else None


def needs(command: object) -> tuple[str, ...]:
    """List the program's files that our own command can't do without; none for anybody else's."""
    parsed = _read(command)
    return () if parsed is None else parsed[0]


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
    given = parse(words[2:])
    return None if given is None else (program, words[1], given)


FAST = ("statusline", "hook")
_HELP = ("--help", "-h")
_CHUNK = 1 << 16


def run(arguments: list[str]) -> int | None:
    """Run a fast command and return its exit code; None where the full command line has to answer."""
    if not arguments or arguments[0] not in FAST or arguments[1:2] in ([each] for each in _HELP):
        return None
    options = parse(arguments[1:])
    if arguments[0] == "hook":
        from claude_gauge.hooks import hook  # noqa: PLC0415 - the other one need not be loaded

        hook.run((options or {}).get("--state-dir"), read_input())
        return 0  # bad arguments too: an exit code of 2 would block what Claude Code is about to do
    if options is None:
        return None
    if not options:
        options = set_up_options()
    from claude_gauge.hooks import statusline  # noqa: PLC0415 - as above

    return statusline.run(options.get("--state-dir"), options.get("--then"), read_input())


def set_up_options() -> dict[str, str]:
    """Return the options that setup gave our statusline, so that trying it by hand shows what Claude Code shows."""
    folder = os.environ.get("CLAUDE_CONFIG_DIR", "").partition(",")[0].strip() or "~/.claude"
    try:
        with open(os.path.expanduser(folder) + "/settings.json", "rb") as file:  # noqa: PTH111, PTH123 - pathlib is slow
            text = file.read()
        if b"--state-dir" not in text:
            return {}  # spares us the imports
        from claude_gauge.hooks.quick_json import loads  # noqa: PLC0415 - as above

        command = loads(text)["statusLine"]["command"]  # type: ignore[index]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return options(command, "statusline") or {}


def read_input() -> bytes:
    """Read standard input to its end; nothing from a terminal, where someone only tries the command."""
    chunks = []
    try:
        while not os.isatty(0) and (chunk := os.read(0, _CHUNK)):
            chunks.append(chunk)
    except OSError:
        pass
    return b"".join(chunks)
