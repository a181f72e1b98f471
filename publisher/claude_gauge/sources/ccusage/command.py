"""Finds the ccusage command on this machine, parses its output, and describes its failures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from claude_gauge.counting.reading import Block
from claude_gauge.system.child import Finished, without_secrets

VERSION = "20.0.24"  # pinned: a newer one was seen to install without its native binary
# Where Node's and Bun's programs lie that a service's short PATH does not name.
MORE_PATHS = ("~/.bun/bin", "~/.local/bin", "~/.npm-global/bin", "/usr/local/bin", "/opt/homebrew/bin")
INSTALL = f"npm install -g ccusage@{VERSION}"


class CcusageError(Exception):
    """Why ccusage gives no figures: `why` in a few words, the text in a sentence with what to do."""

    def __init__(self, why: str, sentence: str) -> None:
        super().__init__(sentence)
        self.why = why


@dataclass(frozen=True, slots=True)
class Command:
    """How to call ccusage; `first_s` is what its first call may take (a download)."""

    argv: tuple[str, ...]
    first_s: float = 60.0


def search_path(environ: Mapping[str, str]) -> str:
    """Return PATH and the places beyond it."""
    home = environ.get("HOME", "~")
    more = [path.replace("~", home, 1) for path in MORE_PATHS]
    return os.pathsep.join([environ.get("PATH", os.defpath), *more])


def find(setting: str | None, environ: Mapping[str, str], *, download: bool = True) -> Command:
    """Find the named ccusage, else the installed one, else (where `download` is allowed) a pinned one by npx or bunx.

    Raises CcusageError.
    """
    path = search_path(environ)
    if setting is not None:
        program = shutil.which(os.path.expanduser(setting), path=path)  # noqa: PTH111 - a bare name must stay one
        if program is None:
            raise CcusageError("not found", f"ccusage: nothing to run at {setting}; check the setting `ccusage`")
        return Command((_checked(program),))
    program = shutil.which("ccusage", path=path)
    if program is not None:
        return Command((_checked(program),))
    launchers = {"npx": ("-y",), "bunx": ()} if download else {}
    for launcher, flags in launchers.items():
        runner = shutil.which(launcher, path=path)
        if runner is not None:
            return Command((runner, *flags, f"ccusage@{VERSION}"), first_s=180.0)
    nor = ", nor npx or bunx" if download else ""
    raise CcusageError("not installed", f"ccusage: not installed{nor}; install Node, then `{INSTALL}`")


def _checked(path: str) -> str:
    """Refuse the program of the same name from PyPI, without running it: it reads credentials."""
    with Path(path).open("rb") as file:
        head = file.read(4096)
    first, _, rest = head.partition(b"\n")
    # pip and pyenv put a shell before the Python: where its path is long or holds a space, and always.
    script = first + rest if first.rstrip().endswith(b"sh") else first
    if first.startswith(b"#!") and (b"python" in script or b"pyenv" in script):
        raise CcusageError(
            "the one from PyPI", f"ccusage: {path} is another program, from PyPI; remove it, then `{INSTALL}`"
        )
    return path


def environment(command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment to call it in: `env node` must find the Node that lies beside it."""
    beside = str(Path(command.argv[0]).parent)
    handed_on = without_secrets(environ)
    return {**handed_on, "PATH": os.pathsep.join([beside, search_path(environ)]), "NO_COLOR": "1", "CI": "1"}


# (what stderr holds, why, sentence)
_FAILURES = (
    (
        "native binary is not available",
        "native binary missing",
        f"its native binary is missing; reinstall: `{INSTALL}`",
    ),
    ("native binary is not executable", "binary not executable", "run it once as the user who installed it"),
    ("requires Bun or Node", "Node too old", "this version wants a newer Node; update Node, or ccusage to 20"),
    ("'node': No such file", "Node missing", "Node is missing; install Node 20 or newer"),
    ("node: not found", "Node missing", "Node is missing; install Node 20 or newer"),
    ("No valid Claude data", "no transcripts folder", "finds no transcripts; check CLAUDE_CONFIG_DIR"),
    ("npm error", "npx cannot fetch it", f"npx can't fetch it; `{INSTALL}` while online"),
    ("npm ERR!", "npx cannot fetch it", f"npx can't fetch it; `{INSTALL}` while online"),
)


def explain(finished: Finished, command: Command) -> CcusageError:
    """Return why a call failed."""
    called = " ".join(command.argv)
    if finished.code is None:
        return CcusageError("took too long", f"ccusage: {called} took too long and was stopped")
    for sign, why, sentence in _FAILURES:
        if sign in finished.err:
            return CcusageError(why, f"ccusage: {called}: {sentence}")
    said = finished.err.strip().splitlines()
    last = said[-1][:120] if said else "it said nothing; its native binary may be missing: " + f"`{INSTALL}`"
    return CcusageError(f"exit code {finished.code}", f"ccusage: {called} ended with {finished.code}: {last}")


DAYS = 7


class OutputError(Exception):
    """Output that is none of ccusage's."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


M = TypeVar("M", bound=_Model)


class _Block(_Model):
    start_time: AwareDatetime
    end_time: AwareDatetime
    is_active: bool = False
    is_gap: bool = False
    total_tokens: int | None = None
    token_counts: Mapping[str, int] = {}


class _Day(_Model):
    date: date
    total_tokens: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0


class _BlocksOutput(_Model):
    blocks: list[_Block]


class _Daily(_Model):
    daily: list[_Day]


def parse_block(text: str | bytes) -> Block:
    """Take the active block out of `blocks --json`; an empty one where none is active."""
    blocks = _model(_BlocksOutput, text).blocks
    active = next((block for block in blocks if block.is_active and not block.is_gap), None)
    if active is None:
        return Block()
    tokens = sum(active.token_counts.values()) if active.total_tokens is None else active.total_tokens
    return Block(max(0, tokens), active.start_time.timestamp(), active.end_time.timestamp())


def parse_week(text: str | bytes, today: date) -> int:
    """Sum the last 7 calendar days, today among them, out of `daily --json`."""
    if _value(text) == []:
        return 0  # as 17 to 19 say that there is nothing
    since = first_day(today)
    return sum(_tokens(day) for day in _model(_Daily, text).daily if since <= day.date <= today)


def first_day(today: date) -> date:
    """Return the first of the last 7 calendar days."""
    return today - timedelta(days=DAYS - 1)


def _tokens(day: _Day) -> int:
    if day.total_tokens is not None:
        return max(0, day.total_tokens)
    return day.input_tokens + day.output_tokens + day.cache_creation_tokens + day.cache_read_tokens


def _value(text: str | bytes) -> object:
    try:
        value: object = from_json(text)
    except ValueError:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise OutputError(f"printed no JSON: {shown.strip()[:80]!r}") from None
    return value


def _model(model: type[M], text: str | bytes) -> M:
    try:
        return model.model_validate(_value(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutputError(f"printed JSON of another shape: {where}: {first['msg']}") from None
