"""`claude-gauge otel`: Claude Code's telemetry switched on so that it counts right, and off again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.claude_code.telemetry import DEFAULT_ENDPOINT, Temporality
from claude_gauge.commands.flags import Config, with_settings

otel = typer.Typer(no_args_is_help=True, help="Switch Claude Code's telemetry on so that it counts right.")
Endpoint = Annotated[
    str, typer.Option("--endpoint", help="OTLP/HTTP address of a collector, or of `--source otlp`.", metavar="URL")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]


Kind = Annotated[
    Temporality,
    typer.Option(
        "--temporality",
        metavar="[delta|cumulative]",
        help="Temporality of the metrics; cumulative for a receiver that takes no deltas.",
    ),
]


@otel.command()
def env(*, endpoint: Endpoint = DEFAULT_ENDPOINT, temporality: Kind = Temporality.DELTA) -> None:
    """Print the environment, for `eval` in a shell.

    eval "$(claude-gauge otel env)"
    """
    from claude_gauge.claude_code.telemetry import exports, variables

    typer.echo(exports(variables(endpoint, temporality)), nl=False)


@otel.command()
def rules() -> None:
    """Print recording rules for a Prometheus of your own."""
    from claude_gauge.sources.prometheus.rules import text

    typer.echo(text(), nl=False)


@otel.command()
def dashboard() -> None:
    """Print the Grafana dashboard.

    Import it into a Grafana whose Prometheus has loaded `otel rules`.
    """
    from claude_gauge.sources.prometheus.dashboard import text

    typer.echo(text(), nl=False)


@otel.command()
@with_settings("state_dir")
def install(
    *,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    temporality: Kind = Temporality.DELTA,
    force: Annotated[bool, typer.Option("--force", help="Replace telemetry that goes elsewhere.")] = False,
    yes: Yes = False,
    config: Config,
) -> None:
    """Add the environment to Claude Code's settings.json.

    Shows the change first, leaves everything else as it is, keeps a backup.
    """
    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.claude_code.settings_file import plan, read
    from claude_gauge.commands.changes import carry_out
    from claude_gauge.errors import GaugeError

    wanted = telemetry.variables(endpoint, temporality)
    record = telemetry.Record(config.settings.state_dir)
    planned, gone = [], {}
    for path in settings_files():
        ours, _ = record.of(path)
        change = plan(path, lambda content, ours=ours: telemetry.put_in(content, wanted, ours))  # type: ignore[misc]
        env = telemetry.environment(read(path))
        rivals = telemetry.rivals(env, wanted, ours)
        helper = [telemetry.HEADERS_HELPER] if telemetry.HEADERS_HELPER in read(path) and not ours else []
        if (rivals or helper) and not force:
            raise GaugeError(
                f"{path} sets {', '.join([*rivals, *helper])} otherwise: telemetry may go elsewhere already; "
                "--force replaces it, and uninstall gives it back"
            )
        planned.append(change)
        gone[path] = (env, rivals)
    carry_out(
        planned,
        "the environment is in these settings already.",
        yes=yes,
        first=lambda each: record.keep(each.path, wanted, *gone[each.path]),
    )
    _warn(wanted, [change.path for change in planned])
    typer.echo("Claude Code sessions that run now do not use it; start them again.")


def _warn(wanted: Mapping[str, str], files: Iterable[Path]) -> None:
    """Print what overrides these settings: managed settings, or variables that this shell exports."""
    import os

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import managed

    for path, content in managed(files):
        env = content.get("env")
        if names := telemetry.rivals(env if isinstance(env, dict) else {}, wanted, {}):
            typer.echo(f"Note: managed settings in {path} set {', '.join(names)}: they override yours.", err=True)
    if names := [name for name in telemetry.rivals(os.environ, wanted, {}) if name not in wanted]:
        typer.echo(f"Note: this shell exports {', '.join(names)}; Claude Code uses them as well.", err=True)


@otel.command()
@with_settings("state_dir")
def uninstall(*, yes: Yes = False, config: Config) -> None:
    """Remove what `install` added; restore what it replaced."""
    import functools

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.claude_code.settings_file import given_back, plan
    from claude_gauge.commands.changes import carry_out

    record = telemetry.Record(config.settings.state_dir)
    planned = []
    for path in settings_files():
        ours, before = record.of(path)
        edit = functools.partial(telemetry.take_out, ours=ours, before=before)
        planned.append(given_back(plan(path, edit), edit, telemetry.without_empty))
    for change in carry_out(planned, "these settings hold nothing that `otel install` added.", yes=yes):
        record.forget(change.path)
