"""The command line: names the commands and says errors; the work is done elsewhere."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from claude_gauge import __version__
from claude_gauge.errors import GaugeError

# In the order of the help.
_COMMANDS = (
    "demo", "publish", "show", "doctor", "service", "watch", "sim", "broker", "firmware", "config", "schema", "setup",
    "calibrate", "statusline", "hook", "discovery", "otel", "fleet",
)  # fmt: skip
_HIDDEN = {"hook": "statusline"}  # run by Claude Code, not by people -> the module it is in


def build(wanted: str = "") -> typer.Typer:
    """Return the command line; of it only the command `wanted`, if that is one: all of them cost 60 ms more."""
    app = typer.Typer(
        name="claude-gauge",
        help="Claude Code's usage on dials that move the moment it happens.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: the same in a terminal, in the docs and in their test
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name in [wanted] if wanted in _COMMANDS else _COMMANDS:
        command = getattr(import_module(f"claude_gauge.commands.{_HIDDEN.get(name, name)}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(hidden=name in _HIDDEN)(command)
    return app


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def root(
    *, version: bool = typer.Option(default=False, help="Show the version.", is_eager=True, callback=_version)
) -> None:
    """Claude Code's usage on dials that move the moment it happens."""


def run() -> int:
    """Run the command line and return the exit code; an expected error is one line on stderr."""
    try:
        build(*sys.argv[1:2])()
    except GaugeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one place that says errors
        return error.exit_code
    return 0
