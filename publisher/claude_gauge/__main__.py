"""The command `claude-gauge`; `statusline` is taken before anything slow is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from claude_gauge.cli import run  # noqa: PLC0415 - typer costs 50 ms, statusline must not pay them

    sys.exit(run())


if __name__ == "__main__":
    main()
