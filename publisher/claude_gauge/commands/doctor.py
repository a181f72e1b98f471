"""`claude-gauge doctor`: checks every link from Claude Code to the topic, with advice for the broken ones."""

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

    Says what to do about each broken one; exit code 1 if there is any.
    """
    import json as encoder
    from dataclasses import asdict

    from claude_gauge.apps.doctor.examine import examine
    from claude_gauge.commands import logs
    from claude_gauge.system.plain_text import harmless

    logs.to_stderr(config.settings.log_format, level="CRITICAL")
    failed = False
    checks = []
    for check in examine(config):
        failed = failed or check.state == "fail"
        checks.append(asdict(check))
        if not json:
            typer.echo(harmless(f"{MARKS[check.state]}  {check.link:22} {check.found}"))
            if check.advice:
                typer.echo(harmless(f"{'':6}{'':22} -> {check.advice}"))
    if json:
        typer.echo(encoder.dumps({"ok": not failed, "checks": checks}, indent=2))
    if failed:
        raise typer.Exit(1)
