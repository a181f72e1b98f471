"""The systemd user unit, hardened as far as the job allows; pure."""

from __future__ import annotations

from claude_gauge.apps.service.job import LABEL, Job
from claude_gauge.errors import GaugeError

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
    """Tell whether something that the job needs would be hidden from it by a /tmp of its own."""
    places = [job.command[0], str(job.state_dir), *job.environment.values()]
    return any(place.startswith(("/tmp/", "/var/tmp/")) for place in places)  # noqa: S108 - nothing is made there


def file_name() -> str:
    """Name of the unit's file."""
    return f"{LABEL}.service"


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
