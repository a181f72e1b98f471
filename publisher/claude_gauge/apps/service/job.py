"""What the service will run, from the settings in force now; pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from claude_gauge.config import PREFIX, Config, is_secret
from claude_gauge.errors import GaugeError

LABEL = "claude-gauge"
_CARRIED = ("CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME")


@dataclass(frozen=True, slots=True)
class Job:
    """A command, its environment, and the folder that it writes to."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    state_dir: Path


def job(config: Config, environ: Mapping[str, str] = os.environ, python: str = sys.executable) -> Job:
    """Carry what was set by flag or environment into the service; raises GaugeError for a secret among it."""
    carried = {name: environ[name] for name in _CARRIED if environ.get(name)}
    given = config.settings.model_dump(mode="json", exclude_none=True)
    for name, origin in config.origins.items():
        if origin.startswith("file"):
            continue
        if is_secret(name):
            raise GaugeError(
                f"{PREFIX}{name.upper()} is a secret: a service's definition can be read by others; put it into a file "
                "(--broker-password-file) or into the settings file, mode 600"
            )
        value = given[name]
        carried[PREFIX + name.upper()] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if environ.get(PREFIX + "CONFIG"):
        carried[PREFIX + "CONFIG"] = str(Path(environ[PREFIX + "CONFIG"]).absolute())
    return Job((python, "-m", "claude_gauge", "publish"), carried, config.settings.state_dir.expanduser().absolute())
