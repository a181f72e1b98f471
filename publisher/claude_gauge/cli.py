"""The command line: names the commands and says errors; the work is done elsewhere."""

from __future__ import annotations

import sys

import typer

from claude_gauge import __version__
from claude_gauge.commands.broker import broker
from claude_gauge.commands.calibrate import calibrate
from claude_gauge.commands.config import config
from claude_gauge.commands.demo import demo
from claude_gauge.commands.discovery import discovery
from claude_gauge.commands.doctor import doctor
from claude_gauge.commands.firmware import firmware
from claude_gauge.commands.fleet import fleet
from claude_gauge.commands.otel import otel
from claude_gauge.commands.publish import publish
from claude_gauge.commands.schema import schema
from claude_gauge.commands.service import service
from claude_gauge.commands.setup import setup
from claude_gauge.commands.show import show
from claude_gauge.commands.sim import sim
from claude_gauge.commands.statusline import hook, statusline
from claude_gauge.commands.watch import watch
from claude_gauge.errors import GaugeError

app = typer.Typer(
    name="claude-gauge",
    help="Claude Code's usage on dials that move the moment it happens.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: the same in a terminal, in the docs and in their test
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(publish)
app.command()(show)
app.command()(doctor)
app.add_typer(service, name="service")
app.command()(watch)
app.command()(sim)
app.add_typer(broker, name="broker")
app.add_typer(firmware, name="firmware")
app.command()(config)
app.command()(schema)
app.command()(setup)
app.command()(calibrate)
app.command()(statusline)
app.command(hidden=True)(hook)
app.add_typer(discovery, name="discovery")
app.add_typer(otel, name="otel")
app.command()(fleet)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    *, version: bool = typer.Option(default=False, help="Show the version.", is_eager=True, callback=_version)
) -> None:
    """Claude Code's usage on dials that move the moment it happens."""


def run() -> int:
    """Run the command line and return the exit code; an expected error is one line on stderr."""
    try:
        app()
    except GaugeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one place that says errors
        return error.exit_code
    return 0
