"""Turns settings into a command's flags, so that no command lists them by hand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from claude_gauge.config import Config, Settings, load

BROKER = ("broker", "broker_password_file", "broker_ca", "broker_cert", "broker_key")
READER = (*BROKER, "node")
EVERY = tuple(name for name in Settings.model_fields if "password" not in name or name.endswith("_file"))


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of these settings and `--config`; it gets the merged `config` as an argument.

    Secrets have no flag: a command line can be read by every process on the machine.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:  # noqa: ANN401 - flags as typer parsed them
            flags = {name: given.pop(name) for name in (*names, "config")}
            command(config=load(flags), **given)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "config"]
        added = [_flag(name, str(Settings.model_fields[name].description)) for name in names]
        parameters = [*own, *added, _flag("config", "TOML file with settings")]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _flag(name: str, text: str) -> inspect.Parameter:
    option = typer.Option("--" + name.replace("_", "-"), help=text, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


__all__ = ["BROKER", "EVERY", "READER", "Config", "with_settings"]
