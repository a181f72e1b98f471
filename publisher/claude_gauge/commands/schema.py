"""`claude-gauge schema`: the payload's JSON schema."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON schema of the payload."""
    import json

    from claude_gauge.contract import usage

    typer.echo(json.dumps(usage.schema(), indent=2))
