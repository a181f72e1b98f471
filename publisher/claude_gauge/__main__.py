"""The command `claude-gauge`; `statusline` and `hook` are taken before anything slow is imported.

What `setup` writes into Claude Code's settings runs this file as a script without site-packages (`hooks/entry`).
"""

from __future__ import annotations

import sys

if not __package__:  # run as a script: the package must be found beside it, after the standard library
    sys.path.append(__file__.rpartition("/claude_gauge/")[0])


INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C is quiet from the first import on."""
    try:
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _run() -> int:
    from claude_gauge.hooks import entry  # noqa: PLC0415 - the order of imports is what this file is about

    code = entry.run(sys.argv[1:])
    if code is None:
        from claude_gauge.commands.cli import run  # noqa: PLC0415 - typer costs 50 ms, statusline must not pay them

        code = run()
    return code


if __name__ == "__main__":
    main()
