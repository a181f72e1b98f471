"""The commands that change Claude Code's settings, `setup` and `otel`, and those that Claude Code runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from claude_gauge.claude_code.telemetry import DEFAULT_ENDPOINT, Temporality
from claude_gauge.commands.flags import Config, with_settings
from claude_gauge.commands.output import say
from claude_gauge.errors import GaugeError

if TYPE_CHECKING:
    from claude_gauge.claude_code.settings_file import SettingsChange

SUMMARY = (
    "Each command above runs claude-gauge: as the statusline it stores the plan's figures, as a hook it notes whether "
    "Claude Code waits for you. `claude-gauge setup --undo` removes them."
)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]


@with_settings("state_dir")
def setup(
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the statusline and the hooks again.")] = False,
    yes: Yes = False,
    statusline: Annotated[bool, typer.Option(help="Add the statusline (plan figures).")] = True,
    hooks: Annotated[bool, typer.Option(help="Add the hooks (Claude waits for you).")] = True,
    config: Config,
) -> None:
    """Have Claude Code report plan figures and when it waits.

    Adds a statusline and hooks to Claude Code's settings. It shows the change first, leaves everything else as it is
    and keeps a backup. Your own statusline goes on working; --undo restores it.
    """
    from claude_gauge.claude_code import entries
    from claude_gauge.claude_code.folders import settings_files

    files = settings_files()
    state_dir = config.settings.state_dir.expanduser().absolute()
    if undo:
        _carry_out(entries.take_out(files), "these settings hold no statusline or hook of claude-gauge.", yes=yes)
        _forget_hooks(state_dir)
        return
    program = entries.program()
    if entries.is_fleeting(program):
        raise GaugeError(
            f"{program[1]} is a temporary copy (uvx, pipx run) that a cache may delete; "
            "install claude-gauge, then run `claude-gauge setup`"
        )
    ours = entries.Ours(program, str(state_dir))
    changes = entries.put_in(files, ours, with_statusline=statusline, with_hooks=hooks)
    if _carry_out(changes, "statusline and hooks are in place already.", yes=yes, summary=SUMMARY):
        _forget_hooks(state_dir)
        say("Claude Code sessions that run now may need a restart to use it.")
        say("Now ask Claude Code something: its plan figures come with the answer, for Pro and Max.")
    for change in changes:
        _warn_of_obstacles(change.path)


def _forget_hooks(state_dir: Path) -> None:
    """Delete the hooks' events: `waiting` is unknown until the next hook runs."""
    import contextlib

    from claude_gauge.hooks.spool import FOLDER, HOOKS, remove

    with contextlib.suppress(OSError):  # `doctor` reports a folder that can't be written to
        remove(str(state_dir / FOLDER / HOOKS))


def _warn_of_obstacles(path: Path) -> None:
    from claude_gauge.claude_code.folders import obstacles, project_obstacles

    for obstacle in (*obstacles(path), *project_obstacles([Path.cwd()], path)):
        say(f"Note: {obstacle.problem}; {obstacle.advice}.", err=True)


otel = typer.Typer(no_args_is_help=True, help="Switch Claude Code's telemetry on so that it counts right.")
Endpoint = Annotated[
    str, typer.Option("--endpoint", help="OTLP/HTTP address of a collector, or of `--source otlp`.", metavar="URL")
]
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
    from claude_gauge.claude_code.telemetry import exports

    say(exports(_variables(endpoint, temporality)), keep="\n", nl=False)


def _variables(endpoint: str, temporality: Temporality) -> dict[str, str]:
    """Return the environment for this endpoint; raises SettingError for one that no exporter can send to."""
    from claude_gauge.claude_code.telemetry import variables
    from claude_gauge.errors import SettingError
    from claude_gauge.system.urls import web_url

    try:
        web_url(endpoint)
    except ValueError as error:
        raise SettingError(f"--endpoint: {error}, such as {DEFAULT_ENDPOINT}") from None
    return variables(endpoint, temporality)


@otel.command()
def rules() -> None:
    """Print recording rules for a Prometheus of your own."""
    from claude_gauge.sources.prometheus.rules import text

    say(text(), keep="\n", nl=False)


@otel.command()
def dashboard() -> None:
    """Print the Grafana dashboard.

    Import it into a Grafana whose Prometheus has loaded `otel rules`.
    """
    from claude_gauge.sources.prometheus.dashboard import text

    say(text(), keep="\n", nl=False)


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
    import functools

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.claude_code.settings_file import change_of, read

    wanted = _variables(endpoint, temporality)
    record = telemetry.Record(config.settings.state_dir)
    changes, gone = [], {}
    for path in settings_files():
        ours, _ = record.of(path)
        changes.append(change_of(path, functools.partial(telemetry.put_in, wanted=wanted, ours=ours)))
        content = read(path)
        rivals = telemetry.rivals(telemetry.environment(content), wanted, ours)
        helper = [telemetry.HEADERS_HELPER] if telemetry.HEADERS_HELPER in content and not ours else []
        if not force:
            _refuse_to_replace(path, [*rivals, *helper])
        gone[path] = (telemetry.environment(content), rivals)
    _carry_out(
        changes,
        "the environment is in these settings already.",
        yes=yes,
        first=lambda each: record.keep(each.path, wanted, *gone[each.path]),
    )
    _warn_of_rivals(wanted, [change.path for change in changes])
    say("Claude Code sessions that run now do not use it; start them again.")


def _refuse_to_replace(path: Path, names: Sequence[str]) -> None:
    if names:
        raise GaugeError(
            f"{path} sets {', '.join(names)} otherwise: telemetry may go elsewhere already; "
            "--force replaces it, and uninstall gives it back"
        )


def _warn_of_rivals(wanted: Mapping[str, str], files: Iterable[Path]) -> None:
    """Print what overrides these settings: managed settings, or variables that this shell exports."""
    import os

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import managed

    for path, content in managed(files):
        env = content.get("env")
        if names := telemetry.rivals(env if isinstance(env, dict) else {}, wanted, {}):
            say(f"Note: managed settings in {path} set {', '.join(names)}: they override yours.", err=True)
    if names := [name for name in telemetry.rivals(os.environ, wanted, {}) if name not in wanted]:
        say(f"Note: this shell exports {', '.join(names)}; Claude Code uses them as well.", err=True)


@otel.command()
@with_settings("state_dir")
def uninstall(*, yes: Yes = False, config: Config) -> None:
    """Remove what `install` added; restore what it replaced."""
    import functools

    from claude_gauge.claude_code import telemetry
    from claude_gauge.claude_code.folders import settings_files
    from claude_gauge.claude_code.settings_file import change_of, given_back

    record = telemetry.Record(config.settings.state_dir)
    changes = []
    for path in settings_files():
        ours, before = record.of(path)
        edit = functools.partial(telemetry.take_out, ours=ours, before=before)
        changes.append(given_back(change_of(path, edit), edit, telemetry.without_empty))
    for change in _carry_out(changes, "these settings hold nothing that `otel install` added.", yes=yes):
        record.forget(change.path)


def _carry_out(
    changes: Sequence[SettingsChange],
    nothing: str,
    *,
    yes: bool,
    summary: str = "",
    first: Callable[[SettingsChange], None] = lambda _: None,
) -> list[SettingsChange]:
    """Show the changes and their `summary`, ask unless `yes`, write all or none; return those that were needed.

    `first` is called with each change before it is written. A "no" ends the command with exit code 1.
    """
    import time

    from claude_gauge.claude_code.settings_file import write

    needed = [change for change in changes if change.needed]
    for change in needed:
        say(change.diff(), keep="\n\t")
    if not needed:
        say(f"Nothing to do: {nothing}")
    elif summary:
        say(summary, keep="\n")
    question = "Write this?" if len(needed) == 1 else f"Write these {len(needed)} files?"
    if needed and not yes and not _agreed(question):
        say("Nothing written.")
        raise typer.Exit(1)
    for change in needed:
        first(change)
    for change, backup in zip(needed, write(needed, time.time()), strict=True):
        say(f"{'Wrote' if change.after is not None else 'Removed'} {change.path}")
        say(f"  backup: {backup}" if backup else "  there was no such file before")
    return needed


def _agreed(question: str) -> bool:
    say(f"{question} [y/N]: ", nl=False)
    try:
        return input().strip().lower() in {"y", "yes"}
    except EOFError:
        say()
        raise GaugeError("nothing written, since nobody answered; `--yes` writes without asking") from None


# What Claude Code runs, here for the help: `hooks/entry.py` runs them without typer.
StateDir = Annotated[str | None, typer.Option(help="Folder for state.", metavar="FOLDER", show_default=False)]


def statusline(
    *,
    state_dir: StateDir = None,
    then: Annotated[
        str | None, typer.Option(help="Your own statusline command, run afterwards.", metavar="COMMAND")
    ] = None,
) -> None:
    """Store the plan's figures, then run your statusline.

    `claude-gauge setup` puts it into Claude Code's settings.
    """
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.statusline import run

    raise typer.Exit(run(state_dir, then, entry.read_input()))


def hook(*, state_dir: StateDir = None) -> None:
    """Note whether Claude waits for you.

    `claude-gauge setup` puts it into Claude Code's settings.
    """
    from claude_gauge.hooks import entry
    from claude_gauge.hooks.hook import run

    run(state_dir, entry.read_input())
