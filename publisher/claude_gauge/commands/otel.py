"""`claude-gauge otel`: Claude Code's telemetry switched on so that it counts right, and off again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from claude_gauge.claude_code.telemetry import DEFAULT_ENDPOINT
from claude_gauge.commands.flags import Config, with_settings

if TYPE_CHECKING:
    from claude_gauge.claude_code.settings_file import Change

otel = typer.Typer(no_args_is_help=True, help="Switch Claude Code's telemetry on, so that it counts right.")
Endpoint = Annotated[
    str, typer.Option("--endpoint", help="OTLP/HTTP address of a collector, or of `--source otlp`.", metavar="URL")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking")]


@otel.command()
def env(*, endpoint: Endpoint = DEFAULT_ENDPOINT) -> None:
    """Print the environment for a shell: `eval "$(claude-gauge otel env)"`."""
    from claude_gauge.claude_code.telemetry import exports

    typer.echo(exports(endpoint), nl=False)


@otel.command()
def rules() -> None:
    """Print recording rules for a Prometheus of your own."""
    from claude_gauge.sources.prometheus.recording_rules import text

    typer.echo(text(), nl=False)


@otel.command()
@with_settings("state_dir")
def install(
    *,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    force: Annotated[bool, typer.Option("--force", help="Replace telemetry that goes elsewhere")] = False,
    yes: Yes = False,
    config: Config,
) -> None:
    """Add the environment to Claude Code's settings.json: shows the change first, keeps all else, backs up."""
    import os

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.settings_file import config_dirs, plan, read
    from claude_gauge.claude_code.telemetry_record import Record
    from claude_gauge.errors import GaugeError

    wanted = telemetry.variables(endpoint)
    record = Record(config.settings.state_dir)
    paths = [folder / "settings.json" for folder in config_dirs(os.environ)]
    for path in paths:
        known = record.of(path)
        other = [
            name
            for name in telemetry.conflicts(read(path), wanted)
            if not known or read(path)["env"][name] != known[0].get(name)
        ]
        if other and not force:
            raise GaugeError(
                f"{path} sets {', '.join(other)} otherwise: telemetry may go elsewhere already; "
                "--force replaces it, and uninstall gives it back"
            )
    before = {path: telemetry.replaced(read(path), wanted) for path in paths}
    changes = [plan(path, lambda content: telemetry.put_in(content, wanted)) for path in paths]
    for change in _write(changes, "all is in place.", yes=yes):
        record.keep(change.path, wanted, before[change.path])
    typer.echo("Sessions that run already go on without it.")


@otel.command()
@with_settings("state_dir")
def uninstall(*, yes: Yes = False, config: Config) -> None:
    """Take the environment out of settings.json again, and give back what stood there before."""
    import os

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.settings_file import config_dirs, plan
    from claude_gauge.claude_code.telemetry_record import Record

    record = Record(config.settings.state_dir)
    changes = []
    for folder in config_dirs(os.environ):
        path = folder / "settings.json"
        ours, before = record.of(path) or (telemetry.variables(), {})
        changes.append(plan(path, lambda content, o=ours, b=before: telemetry.take_out(content, o, b)))  # type: ignore[misc]
    for change in _write(changes, "nothing of ours is in there.", yes=yes):
        record.forget(change.path)


def _write(changes: Iterable[Change], nothing: str, *, yes: bool) -> list[Change]:
    """Show the changes, ask, write; return those that were written."""
    import time

    needed = [change for change in changes if change.needed]
    for change in needed:
        typer.echo(change.diff())
    if not needed:
        typer.echo(f"Nothing to do: {nothing}")
    elif not yes and not typer.confirm("Write this?"):
        typer.echo("Nothing written.")
        raise typer.Exit(1)
    for change in needed:
        backup = change.write(time.time())
        typer.echo(f"Wrote {change.path}")
        typer.echo(f"  backup: {backup}" if backup else "  there was no such file before")
    return needed
