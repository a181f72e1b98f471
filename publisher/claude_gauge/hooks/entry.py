"""The way to `statusline` and `hook` past everything slow: Claude Code waits for them at every turn."""

from __future__ import annotations

import os

from claude_gauge.hooks.our_commands import parse

FAST = ("statusline", "hook")
_HELP = ("--help", "-h")
_CHUNK = 1 << 16


def run(arguments: list[str]) -> int | None:
    """Run a fast command and return its exit code; None for whatever the full command line shall answer."""
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
        from claude_gauge.hooks.our_commands import options  # noqa: PLC0415 - as above
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
