"""What commands write: answers on stdout, notes and log lines (text or JSON) on stderr, all harmless to a terminal."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Literal

import typer

from claude_gauge.contract.usage import stamp
from claude_gauge.system.plain_text import harmless


def say(text: str = "", *, keep: str = "", err: bool = False, nl: bool = True) -> None:
    """Print text, whatever it quotes: `keep` names characters that do not print but may stay, such as newlines."""
    typer.echo(harmless(text, keep=keep), err=err, nl=nl)  # noqa: TID251 - the one place


class _Text(logging.Formatter):
    """A line of text for each record, whatever it quotes; a traceback has lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return harmless(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - logging's signature
        return harmless(super().formatException(ei), keep="\n")


class _Json(logging.Formatter):
    """A JSON object for each record; json.dumps escapes all that is not ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_to_stderr(log_format: Literal["text", "json"], *, level: str = "INFO") -> None:
    """Send the package's log lines to stderr, from `level` up (DEBUG shows each value)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text("%(levelname)s %(name)s: %(message)s"))
    # Watchdog's words are for developers: a folder that goes away is an error there. What it misses, a look finds.
    handler.addFilter(lambda record: not record.name.startswith("watchdog"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("claude_gauge").setLevel(level)
