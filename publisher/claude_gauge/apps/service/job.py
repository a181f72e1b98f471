"""The service's command and environment, as a systemd unit and as a launchd agent; pure."""

from __future__ import annotations

import os
import plistlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from claude_gauge.config import PREFIX, Config, Settings, holds_secret
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
    """Return the job with the settings of flags and environment; raises GaugeError if one of them is a secret.

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
    if holds_secret(name, getattr(settings, name)):
        raise GaugeError(
            f"{PREFIX}{name.upper()} is or holds a secret: a service's definition can be read by others; put it into "
            "a file (--broker-password-file) or into the settings file, mode 600"
        )
    value = getattr(settings, name)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Path) or (name == "ccusage" and os.sep in str(value)):
        return _absolute(Path(value))
    return str(value)


def _path(path: str) -> str:
    """Return the usual PATH, after the folders of programs that this PATH has and that one lacks."""
    programs = [shutil.which(program, path=path) for program in PROGRAMS]
    folders = [str(Path(program).absolute().parent) for program in programs if program is not None]
    usual = USUAL_PATH.split(":")
    return ":".join([*dict.fromkeys(folder for folder in folders if folder not in usual), *usual])


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())


def agent(job: Job, logs: Path) -> bytes:
    """Write the agent's property list: it runs at login and again whenever it fails; raises GaugeError."""
    try:
        return plistlib.dumps(_properties(job, logs))
    except ValueError:
        raise GaugeError("a setting holds a line break or the like: launchd takes no such text") from None


def _properties(job: Job, logs: Path) -> dict[str, object]:
    return {
        "Label": LABEL,
        "ProgramArguments": list(job.command),
        "EnvironmentVariables": dict(job.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardErrorPath": str(logs / "claude-gauge.log"),
    }


DEL = 0x7F
WATCHDOG_S = 90  # a living publisher speaks every 15 s

_TEMPLATE = """\
[Unit]
Description=claude-gauge: Claude Code's usage on dials
Documentation=man:systemd.exec(5)
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{environment}Restart=on-failure
RestartSec=5
# Another publisher has this node already: trying again would not help.
RestartPreventExitStatus=75
WatchdogSec={watchdog}
TimeoutStopSec=10

# It reads transcripts, writes its state, and speaks to the broker: nothing else.
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={state}
PrivateTmp={private_tmp}
DevicePolicy=closed
NoNewPrivileges=yes
AmbientCapabilities=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
KeyringMode=private
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
{confined}
[Install]
WantedBy=default.target
"""


# A user's systemd can do these in a user namespace alone, which some systems forbid: it then starts nothing.
CONFINED = """\
PrivateUsers=yes
PrivateDevices=yes
CapabilityBoundingSet=
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
"""


def unit(job: Job, *, confined: bool = True) -> str:
    """Write the unit file's text; not `confined`, where user namespaces are forbidden."""
    environment = (f"{name}={value}" for name, value in job.environment.items())
    return _TEMPLATE.format(
        command=" ".join(_quoted(word).replace("$", "$$") for word in job.command),
        environment="".join(f"Environment={_quoted(each)}\n" for each in environment),
        state=_listed(str(job.state_dir)),
        watchdog=WATCHDOG_S,
        private_tmp="no" if _lives_in_tmp(job) else "yes",
        confined=CONFINED if confined else "",
    )


def _lives_in_tmp(job: Job) -> bool:
    """Return whether something that the job needs would be hidden from it by a /tmp of its own."""
    places = [job.command[0], str(job.state_dir), *job.environment.values()]
    return any(place.startswith(("/tmp/", "/var/tmp/")) for place in places)  # noqa: S108 - nothing is made there


def _quoted(word: str) -> str:
    """Quote for systemd: its specifiers doubled, white space inside quotes, what would end the line as an escape."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    word = "".join(f"\\x{ord(each):02x}" if ord(each) < ord(" ") or ord(each) == DEL else each for each in word)
    return f'"{word}"' if not word or set(word) & set(" ;'\"\\#") else word


def _listed(path: str) -> str:
    """Quote a path for a list of paths, where systemd knows no escapes; raises GaugeError for what can't be written."""
    if any(ord(each) < ord(" ") or ord(each) == DEL for each in path):
        raise GaugeError(f"state_dir {path!r} holds a line break or the like: systemd takes no such folder")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'
