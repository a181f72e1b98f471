"""The command line: finds the command, prints expected errors in one line, returns the exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from claude_gauge import __version__
from claude_gauge.errors import GaugeError, SettingError
from claude_gauge.system.plain_text import harmless
from claude_gauge.system.signals import interrupt_exits

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from typer._click import Context
    from typer._click.formatting import HelpFormatter

# Heading of the help -> command -> the module that has it, all in the order of the help.
_GROUPS = {
    "Look": dict.fromkeys(("demo", "show", "watch", "web", "doctor"), "look"),
    "Publish": dict.fromkeys(("publish", "service", "fleet"), "publish"),
    "Set up": {
        "setup": "claude_settings",
        "calibrate": "settings",
        "config": "settings",
        "otel": "claude_settings",
        "discovery": "settings",
        "schema": "settings",
    },
    "Device": dict.fromkeys(("sim", "firmware"), "device"),
    "Broker": {"broker": "broker"},
    "Run by Claude Code": dict.fromkeys(("statusline", "hook"), "claude_settings"),
}
_COMMANDS = {name: module for group in _GROUPS.values() for name, module in group.items()}
_HIDDEN = ("hook",)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Grouped(TyperGroup):
    """Lists the commands under headings, each with its whole summary."""

    def invoke(self, ctx: Context) -> object:
        """Run the command; an option's wrong value is said in our words, as that of a setting is."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            raise _plainly(error) from None

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write a section for each group of commands."""
        width = max(map(len, _COMMANDS))
        for title, names in _GROUPS.items():
            shown = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                (f"{name:{width}}", command.get_short_help_str(formatter.width))
                for name, command in shown
                if command is not None and not command.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _plainly(error: typer.BadParameter) -> Exception:
    """Return the error of a value that an option does not take; the very error where typer said it itself."""
    from pydantic import ValidationError

    option, cause = error.param, error.__cause__
    if option is None or not isinstance(cause, ValidationError):
        return error
    found = cause.errors()[0]
    _, _, choices = str(found["msg"]).rstrip(".").partition(" is not one of ")
    takes = f"one of {choices}" if choices else f"a {'whole ' * found['type'].startswith('int_')}number"
    bounds = [
        f" {word} {limit}"
        for word, name in (("from", "min"), ("up to", "max"))
        if (limit := getattr(option, name, None))
    ]
    return SettingError(f"{option.opts[-1]}={found['input']!r}: should be {takes}{''.join(bounds)}")


def build(wanted: str = "") -> typer.Typer:
    """Return the command line; of it only the command `wanted`, if that is one: all of them cost 60 ms more."""
    app = typer.Typer(
        name="claude-gauge",
        cls=Grouped,
        help="Claude Code's usage on dials that move the moment it happens.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: the same in a terminal, in the docs and in their test
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name in [wanted] if wanted in _COMMANDS else _COMMANDS:
        command = getattr(import_module(f"claude_gauge.commands.{_COMMANDS[name]}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(hidden=name in _HIDDEN)(command)
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        typer.echo(__version__)  # noqa: TID251 - our own text
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version, show_default=False)
    ] = False,
) -> None:
    """Claude Code's usage on dials that move the moment it happens."""


class _Dropping(io.FileIO):
    """A file that drops what it can't take, as a full disk can't: no command ends for its notes and log lines."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or drop it; always all of it."""
        with contextlib.suppress(OSError):
            if written := super().write(data):
                return written
        return memoryview(data).nbytes


def _prepare_streams() -> None:
    """Open the standard streams that were closed, as by `>&-`, or a file of ours would take their place.

    What is written to a stdout that was closed fails as on a full disk; stderr drops what it can't take.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # It gets the lowest number that is free: its own.
            file = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(file, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115
    if sys.__stderr__ in {sys.stderr, None}:  # not a test's
        dropping = io.BufferedWriter(_Dropping(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(dropping, sys.stderr.encoding, "backslashreplace", line_buffering=True)


def run() -> int:
    """Run the command line and return the exit code; an expected error is one line on stderr."""
    _prepare_streams()
    logging.getLogger("claude_gauge").addHandler(logging.NullHandler())  # a command without a log says errors only
    try:
        with interrupt_exits():
            app = build(*sys.argv[1:2])
        app()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except GaugeError as error:
        code = _error(str(error), error.exit_code)
    except BrokenPipeError:  # whoever read our output has read enough
        _discard_stdout()
        return 1
    except OSError as error:
        code = _error(_where(error), 1)
    except RuntimeError as error:
        if "home directory" not in str(error):  # pathlib's words, and platformdirs'
            raise
        code = _error("this user has no home folder; set HOME to a folder that it may write to", 1)
    else:
        code = 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is over: threads that still end must not be torn out of it
    return _flushed(code)


def _flushed(code: int) -> int:
    """Write out what Python still holds: at the program's end a full disk would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_stdout()
        reported = code != 0 or isinstance(error, BrokenPipeError)
        return code if reported else _error(_where(error), 1)
    return code


def _where(error: OSError) -> str:
    """Return what failed and, where the system says so, where: a full disk does not name the file."""
    what = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {what}; check the path and who may write there"
    if error.errno == errno.EBADF:
        return "cannot write: standard output is closed"
    return f"cannot write: {what}" if error.errno in FULL else what


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _error(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(harmless(f"error: {text}"), file=sys.stderr)  # noqa: T201 - the one place that says errors
    return code
