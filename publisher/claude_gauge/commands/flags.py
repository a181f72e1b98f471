"""Turns settings into a command's flags, so that no command lists them by hand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from claude_gauge.commands.output import say
from claude_gauge.config import URL, Config, Settings, is_secret, load
from claude_gauge.system.field_words import choices, default_shown, takes

BROKER = ("broker", "broker_password_file", "broker_ca", "broker_cert", "broker_key")
READER = (*BROKER, "node")
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more: also each payload.")]
CONFIG = "TOML file with settings. [default: the one that `claude-gauge config` names]"
EVERY = tuple(name for name in Settings.model_fields if not is_secret(name))


def path(text: str) -> Path:
    """Take a path; an empty one, as of a variable that is not set, is not the folder in which one stands."""
    if not text.strip():
        raise typer.BadParameter("is empty; name a file or folder, or leave it out")
    return Path(text)


def with_settings(*names: str, shows_all: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of these settings and `--config`; it gets the merged `config` as an argument.

    `shows_all` says that its `--node` may be `all`.
    Secrets have no flag: a command line can be read by every process on the machine.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:  # noqa: ANN401 - flags as typer parsed them
            flags = {name: given.pop(name) for name in (*names, "config")}
            config = load(flags, shows_all=shows_all)
            for note in config.notes:
                say(f"warning: {note}", err=True)
            command(config=config, **given)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "config"]
        added = [_flag(name) for name in names]
        parameters = [*own, *added, _parameter("config", Path, CONFIG, "FILE")]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _flag(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    default = default_shown(field)
    text = f"{field.description}.{default and f' [default: {default}]'}"
    said, words = takes(field), choices(field)
    kinds = {"a path": "FILE", "a folder": "FOLDER", URL: "URL", "HOST:PORT or off": "HOST:PORT"}
    metavar = f"[{'|'.join(words)}]" if words else kinds.get(said) or ("NUMBER" if "number" in said else "TEXT")
    kind = Path if metavar in {"FILE", "FOLDER"} else str
    return _parameter(name, kind, text, metavar, words)


def _parameter(name: str, kind: Any, text: str, metavar: str, words: tuple[str, ...] = ()) -> inspect.Parameter:  # noqa: ANN401 - a type
    """Make an option; what it is given is checked with the settings, where environment and file are checked, too."""
    option = typer.Option(
        "--" + name.replace("_", "-"),
        help=text,
        show_default=False,
        metavar=metavar,
        path_type=str if kind is Path else None,  # a shell completes files for it; we get what was typed, also nothing
        readable=False,  # typer looks only at paths that are there, and in words of its own
        autocompletion=(lambda incomplete: [word for word in words if word.startswith(incomplete)]) if words else None,
    )
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


__all__ = ["BROKER", "EVERY", "READER", "Config", "Verbose", "path", "with_settings"]
