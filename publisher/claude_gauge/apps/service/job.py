"""What the service will run, from the settings in force now; pure."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from claude_gauge.config import PREFIX, Config, Settings, is_secret
from claude_gauge.errors import GaugeError

LABEL = "claude-gauge"
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("ccusage", "node", "npx", "mosquitto")  # what the publisher may start: a service has a PATH of its own
_FOLDERS = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")
_CLAUDE = "CLAUDE_CONFIG_DIR"  # a list, separated by commas


@dataclass(frozen=True, slots=True)
class Job:
    """A command, its environment, and the folder that it writes to."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    state_dir: Path


def job(config: Config, environ: Mapping[str, str] = os.environ, python: str = sys.executable) -> Job:
    """Carry what was set by flag or environment into the service; raises GaugeError for a secret among it.

    A service starts in another folder: every path is carried as an absolute one.
    """
    carried = {"PATH": _path(environ.get("PATH", ""))}
    carried |= {name: environ[name] for name in _FOLDERS if environ.get(name)}
    if environ.get(_CLAUDE):
        carried[_CLAUDE] = ",".join(_absolute(Path(each.strip())) for each in environ[_CLAUDE].split(","))
    for name, origin in config.origins.items():
        value = getattr(config.settings, name)
        relative = isinstance(value, Path) and not value.expanduser().is_absolute()
        if not origin.startswith("file") or relative:
            carried[PREFIX + name.upper()] = _carried(config.settings, name)
    if config.path is not None and config.path_named:
        carried[PREFIX + "CONFIG"] = _absolute(config.path)
    state_dir = Path(_absolute(config.settings.state_dir))
    return Job((python, "-m", "claude_gauge", "publish"), carried, state_dir)


def _carried(settings: Settings, name: str) -> str:
    if is_secret(name):
        raise GaugeError(
            f"{PREFIX}{name.upper()} is a secret: a service's definition can be read by others; put it into a file "
            "(--broker-password-file) or into the settings file, mode 600"
        )
    value = getattr(settings, name)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Path) or (name == "ccusage" and os.sep in str(value)):
        return _absolute(Path(value))
    return str(value)


def _path(path: str) -> str:
    """Return the usual PATH, after the folders of what was found here and would not be found there."""
    found = [shutil.which(program, path=path) for program in PROGRAMS]
    folders = [str(Path(program).absolute().parent) for program in found if program is not None]
    usual = USUAL_PATH.split(":")
    return ":".join([*dict.fromkeys(folder for folder in folders if folder not in usual), *usual])


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())
