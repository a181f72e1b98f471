"""`claude-gauge schema`: the payload's JSON schema."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON schema of the payload that every reader gets."""
    import json

    from claude_gauge.contract.usage import Usage

    typer.echo(json.dumps(Usage.model_json_schema(mode="serialization"), indent=2))
