"""The systemd user unit, hardened as far as the job allows; pure."""

from __future__ import annotations

from claude_gauge.apps.service.job import LABEL, Job

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
PrivateDevices=yes
PrivateUsers=yes
DevicePolicy=closed
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
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

[Install]
WantedBy=default.target
"""


def unit(job: Job) -> str:
    """Write the unit file's text."""
    return _TEMPLATE.format(
        command=" ".join(map(_quoted, job.command)),
        environment="".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in job.environment.items()),
        state=_quoted(str(job.state_dir)),
        watchdog=WATCHDOG_S,
        private_tmp="no" if _lives_in_tmp(job) else "yes",
    )


def _lives_in_tmp(job: Job) -> bool:
    """Tell whether something that the job needs would be hidden from it by a /tmp of its own."""
    places = [job.command[0], str(job.state_dir), *job.environment.values()]
    return any(place.startswith(("/tmp/", "/var/tmp/")) for place in places)  # noqa: S108 - nothing is made there


def file_name() -> str:
    """Name of the unit's file."""
    return f"{LABEL}.service"


def _quoted(word: str) -> str:
    """Quote for systemd: its specifiers and variables doubled, white space inside quotes."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return f'"{word}"' if not word or set(word) & set(" \t;'\"\\") else word
