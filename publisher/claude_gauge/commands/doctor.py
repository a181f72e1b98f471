"""`claude-gauge doctor`: every link of the chain, and what to do about the broken ones."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import EVERY, Config, with_settings

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL", "off": "off "}


@with_settings(*EVERY)
def doctor(
    *, config: Config, json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False
) -> None:
    """Check every link from Claude Code to the topic.

    Says what to do about each that is broken; exit code 1 when one is.
    """
    import json as encoder
    from dataclasses import asdict

    from claude_gauge.apps.doctor.examine import examine
    from claude_gauge.commands import logs
    from claude_gauge.system.plain_text import harmless

    logs.to_stderr(config.settings.log_format, level="CRITICAL")
    failed = False
    found = []
    for check in examine(config):
        failed = failed or check.state == "fail"
        found.append(asdict(check))
        if not json:
            typer.echo(harmless(f"{MARKS[check.state]}  {check.link:22} {check.found}"))
            if check.advice:
                typer.echo(harmless(f"{'':6}{'':22} -> {check.advice}"))
    if json:
        typer.echo(encoder.dumps({"ok": not failed, "checks": found}, indent=2))
    if failed:
        raise typer.Exit(1)
