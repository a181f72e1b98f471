"""Whether Claude Code is set up to tell us what only it knows, and tells it where we look."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from claude_gauge.apps.doctor.check import Check
from claude_gauge.claude_code.settings_file import config_dirs, read
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.hooks.hook import EVENTS
from claude_gauge.hooks.our_commands import options

LINK = "Claude Code"
AGAIN = "`claude-gauge setup` puts it right"


def claude_code(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Look into the settings of each of Claude Code's config folders."""
    for folder in config_dirs(environ):
        path = folder / "settings.json"
        try:
            yield _check(path, read(path), settings)
        except GaugeError as error:
            yield Check(LINK, "fail", str(error), "Claude Code reads none of its settings from it, either")


def _check(path: Path, content: Mapping[str, Any], settings: Settings) -> Check:
    statusline = content.get("statusLine")
    commands = [statusline.get("command") if isinstance(statusline, dict) else None, *_hooks(content)]
    names = ["statusline", *["hook"] * (len(commands) - 1)]
    ours = [command for command, name in zip(commands, names, strict=True) if options(command, name) is not None]
    if not ours:
        return Check(LINK, "off", f"{path} does not call us: no plan figures, no `waiting`", "`claude-gauge setup`")
    if content.get("disableAllHooks") is True:
        return Check(
            LINK, "warn", f"{path} says disableAllHooks: neither statusline nor hooks run", "take it out there"
        )
    programs = {shlex.split(command)[0] for command in ours}
    gone = [program for program in programs if shutil.which(program) is None]
    if gone:
        return Check(LINK, "fail", f"{path} calls {gone[0]}, which is not there", AGAIN)
    wanted = str(settings.state_dir.expanduser().absolute())
    told = {(options(command, name) or {}).get("--state-dir") for command, name in zip(commands, names, strict=True)}
    other = sorted(each for each in told if each and each != wanted)
    if other:
        return Check(LINK, "warn", f"{path} hands over to {other[0]}, the publisher looks in {wanted}", AGAIN)
    if len(ours) < 1 + len(EVENTS):
        return Check(LINK, "ok", f"{path} calls us for {len(ours)} of {1 + len(EVENTS)} things", AGAIN)
    return Check(LINK, "ok", f"statusline and hooks are in {path}")


def _hooks(content: Mapping[str, Any]) -> Iterator[Any]:
    hooks = content.get("hooks")
    for groups in (hooks if isinstance(hooks, dict) else {}).values():
        for group in groups if isinstance(groups, list) else []:
            entries = group.get("hooks") if isinstance(group, dict) else None
            yield from (each.get("command") for each in entries or [] if isinstance(each, dict))
