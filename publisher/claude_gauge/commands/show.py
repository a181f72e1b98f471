"""`claude-gauge show`: the present figures, once."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings


@with_settings(*EVERY)
def show(
    *,
    config: Config,
    json: Annotated[bool, typer.Option("--json", help="Print the payload itself.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Add cost, sessions, active time, lines, commits…, from Prometheus.")
    ] = False,
) -> None:
    """Show the present figures, once.

    Reads the publisher's topic; computes them here when no publisher runs. The first line says which.
    """
    import time

    from claude_gauge.apps.terminal.details import rows
    from claude_gauge.commands import logs
    from claude_gauge.commands.glance import look
    from claude_gauge.system.plain_text import harmless, harmless_json

    logs.to_stderr(config.settings.log_format, level="ERROR")
    glance = look(config.settings, config.own_node)
    typer.echo(harmless(glance.origin), err=True)
    if json:
        typer.echo(harmless_json(glance.payload))
    else:
        for name, text in rows(glance.usage, time.time()):
            typer.echo(harmless(f"{name:22} {text}"))
    if everything:
        _print_more(config, as_json=json)


def _print_more(config: Config, *, as_json: bool) -> None:
    import dataclasses
    import json
    import time

    from claude_gauge.errors import GaugeError
    from claude_gauge.sources.prometheus.source import figures, lines
    from claude_gauge.system.plain_text import harmless

    settings = config.settings
    if settings.prometheus is None and settings.source != "prometheus":
        raise GaugeError("--all needs Prometheus, which alone has these figures; name it with --prometheus URL")
    more = figures(settings, time.time())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(figure) for figure in more]))
        return
    typer.echo()
    for line in lines(more):
        typer.echo(harmless(line))
